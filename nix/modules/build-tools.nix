# What runs while a system is built: the programs that check its settings and write its boot scripts.
#
# The units' own programs are for the machine that the system is for. Where that is of another platform than the one which
# builds, these are the same programs for the latter; else they are the units' own, and nothing is built twice.
{ config, pkgs }:
let
  inherit (pkgs.stdenv) buildPlatform hostPlatform;
  forUnits = buildPlatform.canExecute hostPlatform;
in
{
  tools =
    if forUnits then
      config.services.every-channel.toolsPackage
    else
      pkgs.buildPackages.callPackage ../package.nix { };
  systemd = if forUnits then config.systemd.package else pkgs.buildPackages.systemd;
}
