# The flake's packages for one system.
{ pkgs, ectools, ... }:
{
  inherit ectools;
  default = ectools;

  docs =
    pkgs.runCommand "every-channel-option-docs"
      { meta.description = "The option reference: Markdown, HTML with search, man page, JSON"; }
      ''
        ${pkgs.lib.getExe ectools} docs -o $out
      '';
}
