# The flake's packages for one system.
{ pkgs, ectools, ... }:
{
  inherit ectools;
  default = ectools;

  docs = pkgs.runCommand "every-channel-option-docs" { nativeBuildInputs = [ ectools ]; } ''
    ectools docs -o $out
  '';
}
