# `nix fmt`: nixfmt and ruff over the tracked files, or over the files named. A package set that lacks one of them
# leaves it to PATH.
{ lib, pkgs }:
pkgs.writeShellApplication {
  name = "every-channel-format";
  runtimeInputs =
    lib.optional (pkgs ? nixfmt) pkgs.nixfmt
    ++ lib.optional (pkgs ? ruff) pkgs.ruff
    ++ lib.optional (pkgs ? git) pkgs.git;
  text = ''
    if [ $# -gt 0 ] && [ "$1" != . ]; then
      files=("$@")
    else
      mapfile -t files < <(git ls-files '*.nix' '*.py')
    fi
    for file in "''${files[@]}"; do
      case "$file" in
        *.nix) nixfmt "$file" ;;
        *.py) ruff format --quiet "$file" ;;
      esac
    done
  '';
}
