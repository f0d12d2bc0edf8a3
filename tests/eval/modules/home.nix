# A module of home-manager, which uses its library where the configuration is asked for.
{
  config,
  lib,
  pkgs,
  ...
}:
{
  options.programs.sample = {
    enable = lib.mkEnableOption "sample";
    directory = lib.mkOption {
      type = lib.types.str;
      default = config.home.homeDirectory + "/sample";
      defaultText = lib.literalExpression ''"''${config.home.homeDirectory}/sample"'';
      description = "A directory.";
    };
  };
  config = lib.mkIf config.programs.sample.enable {
    home.activation.sample = lib.hm.dag.entryAfter [ "writeBoundary" ] "true";
    home.packages = [ pkgs.hello ];
  };
}
