# What lib.fleet makes of a fleet, for tests: the facts of each configuration.
#
#   data    the arguments, but for the modules: group or node → options as JSON; `imports` are paths in this repository
#   strict  whether the report's options are there
{
  data,
  nixpkgs,
}:
let
  lib = import "${nixpkgs}/lib";
  makeFleet = import ../../nix/lib/fleet.nix { inherit lib; };
  offline = lib.optional (builtins.pathExists "${nixpkgs}/nixos-module.nix") "${nixpkgs}/nixos-module.nix";
  nixosSystem =
    { modules }:
    import "${nixpkgs}/nixos/lib/eval-config.nix" {
      inherit lib;
      system = null;
      modules = offline ++ modules;
    };
  asModules = lib.mapAttrs (
    _: options: [
      (removeAttrs options [ "imports" ])
      { imports = map (file: ../.. + "/${file}") (options.imports or [ ]); }
      (
        { fleetMember, ... }:
        {
          environment.variables.MEMBER = builtins.toJSON fleetMember;
        }
      )
    ]
  );
  report = {
    options.services.every-channel.report.healthUnits = lib.mkOption {
      type = lib.types.listOf lib.types.str;
    };
  };
  made = makeFleet (
    builtins.removeAttrs data [ "report" ]
    // {
      inherit nixosSystem;
      modules = lib.mapAttrs (_: list: list ++ lib.optional (data.report or false) report) (
        asModules data.modules
      );
    }
    // lib.optionalAttrs (data ? nodeModules) { nodeModules = asModules data.nodeModules; }
  );
in
lib.mapAttrs (
  _:
  { config, ... }:
  {
    inherit (config.networking) hostName domain;
    platform = config.nixpkgs.hostPlatform.system;
    kernelParams = lib.filter (lib.hasPrefix "ec.") config.boot.kernelParams;
    healthUnits = config.services.every-channel.report.healthUnits or null;
    member = builtins.fromJSON config.environment.variables.MEMBER;
  }
) made
