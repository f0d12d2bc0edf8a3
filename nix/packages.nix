# The flake's packages for one system.
{ pkgs, ectools, ... }:
{
  inherit ectools;
  default = ectools;

  docs =
    pkgs.runCommand "every-channel-option-docs"
      { meta.description = "The option reference: Markdown, HTML with search and the guides, man page, JSON"; }
      ''
        ${pkgs.lib.getExe ectools} docs -o $out \
          --format markdown --format html --format man --format json --format options-json \
          --title every.channel --project-version ${ectools.version} --man-page 'every-channel-options(5)' \
          --guide ${../docs}/NUC_UNIFI_NETBOOT.md --guide ${../docs}/RUNNER_IMAGES.md \
          --guide ${../docs}/HTTP.md --guide ${../docs}/SCHEMAS.md --guide ${../docs}/SECURITY_MODEL.md \
          --guide ${../docs}/METRICS.md
      '';
}
