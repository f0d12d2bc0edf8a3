# What all hosts have in common.
{ lib, ... }:
{
  system.stateVersion = "26.05";
  networking.useDHCP = lib.mkDefault true;
  time.timeZone = lib.mkDefault "UTC";
}
