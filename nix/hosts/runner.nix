# A runner, however it is booted.
{ lib, ... }:
{
  imports = [ ./remote.nix ];

  services.every-channel.runner.enable = true;
  # Less than a default: whoever knows the machine's name may have one.
  networking.hostName = lib.mkOverride 1100 "ec-runner";
}
