# A boot host of your own. Its address, interface and network are in boot-host.nix; then:
#
#   sudo nixos-rebuild switch --flake .#boot-host
{
  description = "A host that boots the machines of its network";

  inputs = {
    every-channel.url = "git+https://git.every.channel/every-channel/every.channel";
    nixpkgs.follows = "every-channel/nixpkgs";
  };

  outputs =
    { every-channel, nixpkgs, ... }:
    {
      nixosConfigurations.boot-host = nixpkgs.lib.nixosSystem {
        modules = [
          every-channel.nixosModules.ec-netboot
          ./boot-host.nix
          # systemd-boot, and two partitions by label. On a machine that runs NixOS already, put in its place what
          # `nixos-generate-config` has written: /etc/nixos/hardware-configuration.nix, and its boot loader.
          "${every-channel}/nix/hosts/disk.nix"
        ];
      };
    };
}
