# What hosts with modules of this repository bring to a machine's systemd, for tests/support/switch.py.
#
#   nixpkgs  path of a nixpkgs tree with a flake.nix, as a string
#   hosts    name → configuration, as JSON text
#
# One JSON file: name → the host's units, tmpfiles rules, users and groups, files in /etc, kernel modules.
{ nixpkgs, hosts }:
let
  describe =
    host:
    let
      inherit (host) config;
      inherit (host.pkgs) lib;
      isOurs = lib.hasInfix "every-channel";
      ours = lib.filterAttrs (name: _: isOurs name);
      fromRules = lib.filter (package: isOurs package.name) config.systemd.tmpfiles.packages;
      # A whole system's units are not for another distribution: the firewall is the one of NixOS' own that is.
      isWanted =
        name: unit:
        unit.enable && (isOurs name || (name == "nftables.service" && config.networking.nftables.enable));
    in
    {
      units = lib.mapAttrs (name: unit: {
        file = "${unit.unit}/${name}";
        inherit (unit) wantedBy requiredBy;
      }) (lib.filterAttrs isWanted config.systemd.units);
      tmpfiles = map (package: "${package}/lib/tmpfiles.d/${package.name}") fromRules;
      etc = lib.mapAttrs (_: file: "${file.source}") (ours config.environment.etc);
      groups = builtins.attrNames (ours config.users.groups);
      users = lib.mapAttrs (_: user: { inherit (user) group extraGroups; }) (ours config.users.users);
      kernelModules = lib.concatMap (definition: definition.value) (
        lib.filter (
          definition: lib.hasInfix "/nix/modules/ec-" (toString definition.file)
        ) host.options.boot.kernelModules.definitionsWithLocations
      );
    };
  described = builtins.mapAttrs (
    _: config:
    import ./system.nix {
      inherit nixpkgs;
      config = builtins.toJSON config;
    }
  ) (builtins.fromJSON hosts);
  inherit (builtins.head (builtins.attrValues described)) pkgs;
in
pkgs.writeText "hosts.json" (builtins.toJSON (builtins.mapAttrs (_: describe) described))
