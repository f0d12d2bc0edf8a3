# A boot host with a guest on some platform, for tests: what its boot files and its QEMU are.
#
#   nixpkgs    path of a nixpkgs tree with a flake.nix, as a string
#   platform   the host's
#   isOwn      whether the boot host brings an iPXE of its own
#   enableKvm  whether its guest is told to use KVM; null says nothing
{
  nixpkgs,
  platform,
  isOwn ? false,
  enableKvm ? null,
}:
let
  system = import ./system.nix {
    inherit nixpkgs;
    modules = if isOwn then [ ({ pkgs, ... }: { services.every-channel.netboot.ipxe.package = pkgs.hello; }) ] else [ ];
    config = builtins.toJSON {
      nixpkgs.hostPlatform = platform;
      services.every-channel = {
        ipxe-qemu = {
          enable = true;
          boot.http.root = "/srv/root";
        }
        // (if enableKvm == null then { } else { inherit enableKvm; });
        netboot = {
          enable = true;
          listenIP = "192.0.2.1";
        };
      };
    };
  };
  inherit (system.config.services.every-channel) ipxe-qemu netboot;
  inherit (ipxe-qemu.boot.userNet) bootFile;
in
{
  inherit (system) failed;
  ipxe = netboot.ipxe.package.system;
  hasBios = netboot.ipxe.biosFile != null;
  biosIsOfThat = netboot.ipxe.biosFile == "${netboot.ipxe.package}/undionly.kpxe";
  qemu = ipxe-qemu.package.pname;
  inherit (ipxe-qemu) cpu enableKvm machine;
  bootFile = if bootFile == null then null else baseNameOf bootFile;
}
