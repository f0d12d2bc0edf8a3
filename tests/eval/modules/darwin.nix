# A module of nix-darwin.
{ config, lib, ... }:
{
  options.services.sample.interval = lib.mkOption {
    type = lib.types.ints.u8;
    default = 5;
    description = "Seconds.";
  };
  config.launchd.daemons.sample.serviceConfig.StartInterval = config.services.sample.interval;
}
