# A comment at the top.
#
# In paragraphs.
free:
with free;
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkIf mkDefault;
  cfg = config.services."odd name";
in
{
  # What this needs.
  imports = [
    ./a.nix
    <nixpkgs/nixos>
  ];
  # Two lines
  #
  #   of comment */ ${x}
  config = mkIf cfg.enable {
    x = 1;
    y = [
      1
      2
    ];
  };
  a."b c"."if" = with pkgs; [
    hello
    jq
  ];
  run = "${pkgs.jq}/bin/jq \"\${x}\"";
}
