# What the modules of this repository make of many configurations, each on a NixOS host of its own, for tests.
#
#   nixpkgs  path of a nixpkgs tree with a flake.nix, as a string
#   configs  path of a JSON file: an array of configurations, as system.nix takes them
{ nixpkgs, configs }:
let
  inherit (import "${nixpkgs}/lib")
    filterAttrs
    hasPrefix
    hasSuffix
    mapAttrs
    ;

  # Once for all, because each evaluation of it reads the source.
  packages = (builtins.getFlake "path:${nixpkgs}").legacyPackages.x86_64-linux;
  toolsPackage = packages.callPackage ../../nix/package.nix { };

  ours = filterAttrs (name: _: hasPrefix "every-channel" name);

  evaluate =
    config:
    let
      system = import ./system.nix {
        inherit nixpkgs;
        config = builtins.toJSON config;
        modules = [ { services.every-channel = { inherit toolsPackage; }; } ];
      };
      host = system.config;

      opened = rules: {
        tcp = rules.allowedTCPPorts;
        udp = rules.allowedUDPPorts;
      };
    in
    rec {
      inherit (system) failed;
      inherit (host) warnings;
      units = mapAttrs (_: unit: unit.unit) (ours host.systemd.units);
      texts = mapAttrs (_: unit: unit.text) (ours host.systemd.units);
      # Paths, so that nothing is built.
      unitFiles = mapAttrs (_: unit: builtins.unsafeDiscardStringContext unit.drvPath) units;
      firewall = opened host.networking.firewall // {
        interfaces = mapAttrs (_: opened) host.networking.firewall.interfaces;
      };
      settings = mapAttrs (_: file: file.source) (
        filterAttrs (
          name: _: hasPrefix "every-channel/" name && hasSuffix ".json" name
        ) host.environment.etc
      );
      settingsFiles = mapAttrs (
        _: file: builtins.unsafeDiscardStringContext file.drvPath or "${file}"
      ) settings;
      options = mapAttrs (_: import ./plain.nix) (
        filterAttrs (name: service: name != "toolsPackage" && service.enable) host.services.every-channel
      );
      tmpfiles = host.systemd.tmpfiles.settings;
      tmpfilesPackages = builtins.listToAttrs (
        map (value: {
          inherit (value) name;
          inherit value;
        }) host.systemd.tmpfiles.packages
      );
      sysctl = filterAttrs (
        name: _: name == "net.core.rmem_default" || hasPrefix "net.ipv4.neigh.default.gc_thresh" name
      ) host.boot.kernel.sysctl;
      left = {
        files = builtins.attrNames settings;
        tmpfiles = builtins.attrNames tmpfiles;
        units = builtins.attrNames units;
        users = builtins.attrNames (ours host.users.users);
      };
    };
in
map evaluate (builtins.fromJSON (builtins.readFile configs))
