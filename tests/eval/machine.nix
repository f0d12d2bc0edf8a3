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
    import ./described.nix {
      inherit (host) config;
      inherit (host.pkgs) lib;
      kernelModules = host.pkgs.lib.concatMap (definition: definition.value) (
        host.pkgs.lib.filter (
          definition: host.pkgs.lib.hasInfix "/nix/modules/ec-" (toString definition.file)
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
