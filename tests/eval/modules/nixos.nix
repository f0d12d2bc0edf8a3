# A module of NixOS that also sets what nobody declares, and adds to an option of NixOS.
{
  config,
  lib,
  modulesPath,
  pkgs,
  ...
}:
{
  imports = [ (modulesPath + "/misc/lib.nix") ];

  options.services.sample = {
    enable = lib.mkEnableOption "sample";
    host = lib.mkOption {
      type = lib.types.str;
      default = config.networking.hostName + pkgs.lib.trivial.release;
      defaultText = lib.literalExpression "config.networking.hostName";
      description = "A host.";
    };
    pool.size = lib.mkOption {
      type = lib.types.ints.positive;
      default = 1;
      description = "A number.";
    };
  };
  options.users.users = lib.mkOption {
    type = lib.types.attrsOf (
      lib.types.submodule {
        options.sampled = lib.mkOption {
          type = lib.types.bool;
          default = false;
          description = "Whether it is sampled.";
        };
      }
    );
  };
  config = lib.mkIf config.services.sample.enable {
    nobody.declares.this = true;
    environment.variables.X = "1";
  };
}
