# What the modules share: the package whose programs their units start.
{ lib, pkgs, ... }:
{
  options.services.every-channel.toolsPackage = lib.mkOption {
    type = lib.types.package;
    default = pkgs.callPackage ../package.nix { };
    defaultText = lib.literalExpression "pkgs.callPackage ./nix/package.nix { }";
    description = ''
      The `ectools` package: the programs that the every.channel units start, and the checker that their settings
      files pass when the system is built.
    '';
  };
}
