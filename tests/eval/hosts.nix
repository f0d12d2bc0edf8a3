# The flake's hosts, each as it is and with more of this repository's services, for tests.
#
#   nixpkgs  path of a nixpkgs tree with a flake.nix, as a string
#   more     JSON text: options below services.every-channel, as system.nix takes them; they win over a host's own
{ nixpkgs, more }:
let
  flake = builtins.getFlake "path:${nixpkgs}";
  inherit (flake) lib;
  self = {
    nixosModules = import ../../nix/nixos-modules.nix;
    nixosConfigurations = import ../../nix/hosts {
      inherit self;
      nixpkgs = flake;
    };
  };
  packages = flake.legacyPackages.x86_64-linux;

  isPackage = value: builtins.attrNames value == [ "package" ] && builtins.isString value.package;

  # Each option's value, given the options of the modules.
  force =
    options: value:
    if lib.isOption options then
      lib.mkForce (if builtins.isAttrs value && isPackage value then packages.${value.package} else value)
    else
      builtins.mapAttrs (name: force options.${name}) value;

  describe =
    { config, ... }:
    {
      failed = map (each: each.message) (builtins.filter (each: !each.assertion) config.assertions);
      inherit (config) warnings;
      units = lib.mapAttrs (_: unit: builtins.unsafeDiscardStringContext unit.unit.drvPath) (
        lib.filterAttrs (name: _: lib.hasPrefix "every-channel" name) config.systemd.units
      );
    };
in
{
  names = builtins.attrNames self.nixosConfigurations;
  hosts = builtins.mapAttrs (_: host: {
    base = describe host;
    more = describe (
      host.extendModules {
        modules = [
          { services.every-channel = force host.options.services.every-channel (builtins.fromJSON more); }
          # What they keep below /srv.
          (lib.optionalAttrs (host.options.services.every-channel ? runner) {
            services.every-channel.runner.overlayRoot.persist = [ "/srv" ];
          })
        ];
      }
    );
  }) self.nixosConfigurations;
}
