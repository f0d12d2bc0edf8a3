# A runner, however it is booted.
{ lib, ... }:
{
  imports = [ ./remote.nix ];

  services.every-channel.runner.enable = true;
  networking.hostName = lib.mkDefault "ec-runner";
}
