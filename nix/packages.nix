# The flake's packages for one system.
{ pkgs, ectools, ... }:
{
  inherit ectools;
  default = ectools;

  docs = pkgs.runCommand "every-channel-option-docs" { } ''
    ${pkgs.lib.getExe ectools} docs -o $out
  '';
}
