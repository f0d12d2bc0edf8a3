# What modules of flake-parts find around them, where flake-parts itself is not at hand: its options that other modules
# add to, and those functions of its library by which they declare options.
{ lib }:
let
  inherit (lib) mkOption types;

  perSystemType = module: types.deferredModuleWith { staticModules = [ module ]; };
  perSystemOption = module: mkOption { type = perSystemType module; };
  importApply =
    file: arguments: lib.setDefaultModuleLocation file (import file arguments);

  library = {
    inherit importApply;
    mkAliasOptionModule = lib.mkAliasOptionModule;
    mkDeferredModuleOption = perSystemOption;
    mkDeferredModuleType = perSystemType;
    mkPerSystemOption = perSystemOption;
    mkPerSystemType = perSystemType;
    mkSubmoduleOptions =
      options: mkOption { type = types.submoduleWith { modules = [ { inherit options; } ]; }; };

    # An option of each system, which the flake shows by the system's name.
    mkTransposedPerSystemModule =
      {
        name,
        option,
        file,
      }:
      {
        _file = file;
        options.flake.${name} = mkOption {
          type = types.lazyAttrsOf option.type;
          default = { };
          description = "What each system has as {option}`perSystem.${name}`.";
        };
        options.perSystem = perSystemOption {
          _file = file;
          options.${name} = option;
        };
      };
  };
in
{
  module.options = {
    flake = mkOption {
      type = types.submoduleWith { modules = [ { freeformType = types.lazyAttrsOf types.raw; } ]; };
      default = { };
      description = "The outputs of the flake.";
    };
    perSystem = perSystemOption { } // {
      default = { };
      description = "What there is of each system.";
    };
    systems = mkOption {
      type = types.listOf types.str;
      default = [ ];
      description = "The systems that outputs are made for.";
    };
  };

  specialArgs = {
    flake-parts-lib = library;
    inputs = { };
    moduleLocation = "/flake.nix";
    self = {
      _type = "flake";
      inputs = { };
      outPath = "/";
    };
  };
}
