# A module of flake-parts.
{ flake-parts-lib, lib, ... }:
{
  imports = [
    (flake-parts-lib.mkTransposedPerSystemModule {
      name = "samples";
      file = ./flake.nix;
      option = lib.mkOption {
        type = lib.types.lazyAttrsOf lib.types.str;
        default = { };
        description = "Samples.";
      };
    })
  ];
  options.perSystem = flake-parts-lib.mkPerSystemOption (
    { system, ... }:
    {
      options.sample.of = lib.mkOption {
        type = lib.types.str;
        default = system;
        defaultText = lib.literalExpression "system";
        description = "What the sample is of.";
      };
      config.packages.sample = "undeclared";
    }
  );
  config.systems = [ "x86_64-linux" ];
}
