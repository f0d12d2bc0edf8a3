# The publisher guest's profile: a system without a disk of its own, for a virtual machine or a network boot. All that
# it writes is in memory, so a reboot is a new machine.
{
  config,
  lib,
  options,
  pkgs,
  ...
}:
let
  path = "services.every-channel";

  rootOptions = [ "mode=0755" ];
  serial = if pkgs.stdenv.hostPlatform.isAarch64 then "ttyAMA0" else "ttyS0";

  inherit (import ./systemd.nix { inherit lib; }) volatileJournal;
  inherit (lib) mkDefault;
in
{
  imports = [
    ./ec-node.nix
    ./ec-report.nix
  ];

  options.services.every-channel.publisher-guest.enable = lib.mkEnableOption ''
    the publisher guest's profile: no disk, a serial console, DHCP, a journal in memory, a small system; and the
    publisher daemon, where {option}`${path}.node.package` brings one'';

  config = lib.mkIf config.services.every-channel.publisher-guest.enable {
    services.every-channel.node.enable = lib.mkIf options.services.every-channel.node.package.isDefined (
      mkDefault true
    );
    services.every-channel.report = {
      enable = mkDefault true;
      healthUnits = lib.mkIf config.services.every-channel.node.enable [ "every-channel-node.service" ];
    };

    # Where the store comes from is the boot's: a netboot image brings one, a virtual machine shares its host's.
    fileSystems."/" = {
      device = mkDefault "tmpfs";
      fsType = mkDefault "tmpfs";
      # A tmpfs is 1777 by itself. Not by default: nixpkgs adds options of its own, beside which no default counts.
      # First, so that a mode of the host's own is what counts.
      options = lib.mkIf (config.fileSystems."/".fsType == "tmpfs") (lib.mkBefore rootOptions);
    };
    # What a virtual machine mounts is an option of its own.
    virtualisation.vmVariant =
      { config, ... }:
      let
        vm = config.virtualisation;
      in
      {
        virtualisation = {
          diskImage = mkDefault null;
          fileSystems = lib.mkIf (vm.useDefaultFilesystems && vm.diskImage == null) {
            "/".options = lib.mkBefore rootOptions;
          };
        };
      };

    boot = {
      loader.grub.enable = mkDefault false;
      kernelParams = [
        "console=tty0"
        # The last one is /dev/console.
        "console=${serial},115200n8"
        # Nobody is there to look: begin again.
        "panic=30"
        "boot.panic_on_fail"
      ];
      enableContainers = mkDefault false;
    };

    networking = {
      useDHCP = mkDefault true;
      # The DHCP server's to give. Less than a default: whoever knows the machine's name may have one.
      hostName = lib.mkOverride 1100 "";
    };

    services.journald = volatileJournal options.services.journald;
    systemd.coredump.enable = mkDefault false;

    # What nobody will use who never logs in.
    documentation.enable = mkDefault false;
    environment.defaultPackages = mkDefault [ ];
    fonts.fontconfig.enable = mkDefault false;
    nix.enable = mkDefault false;
    programs.command-not-found.enable = mkDefault false;
    xdg = {
      autostart.enable = mkDefault false;
      icons.enable = mkDefault false;
      mime.enable = mkDefault false;
      sounds.enable = mkDefault false;
    };
  };
}
