# A NixOS host with modules of this repository, for tests.
#
#   nixpkgs  path of a nixpkgs tree with a flake.nix, as a string
#   config   the host's configuration, as JSON text
{ nixpkgs, config }:
let
  flake = builtins.getFlake "path:${nixpkgs}";
  host = flake.lib.nixosSystem {
    system = "x86_64-linux";
    modules = [
      # Twice, as a host has it that uses the flake and the file: it is one module.
      ../../nix/modules/ec-ipxe-qemu.nix
      (import ../../nix/nixos-modules.nix).default
      {
        system.stateVersion = "26.05";
        boot.loader.grub.enable = false;
        fileSystems."/".device = "/dev/disk/by-label/root";
      }
      (builtins.fromJSON config)
    ];
  };

  ours = flake.lib.filterAttrs (name: _: flake.lib.hasInfix "every-channel-ipxe-qemu" name);
in
{
  inherit (host) config;
  failed = map (a: a.message) (builtins.filter (a: !a.assertion) host.config.assertions);
  unit = host.config.systemd.units."every-channel-ipxe-qemu.service".unit;
  lanUnit = host.config.systemd.units."every-channel-ipxe-qemu-lan.service".unit;
  filterUnit = host.config.systemd.units."every-channel-ipxe-qemu-loopback.service".unit;
  settings = host.config.environment.etc."every-channel/ipxe-qemu.json".source;
  links = {
    dhcpcd = host.config.networking.dhcpcd.denyInterfaces;
    networkmanager = host.config.networking.networkmanager.unmanaged;
    networkd = builtins.mapAttrs (_: network: {
      name = network.matchConfig.Name;
      unmanaged = network.linkConfig.Unmanaged or false;
    }) (ours host.config.systemd.network.networks);
  };
  restarts = builtins.mapAttrs (_: service: service.restartIfChanged) (
    ours host.config.systemd.services
  );
  units = builtins.attrNames host.config.systemd.services;
  tmpfiles = host.config.systemd.tmpfiles.settings."10-every-channel-ipxe-qemu" or { };
  tmpfilesPackage = builtins.head (
    builtins.filter (
      package: package.name == "10-every-channel-ipxe-qemu.conf"
    ) host.config.systemd.tmpfiles.packages
  );
  users = builtins.attrNames host.config.users.users;
}
