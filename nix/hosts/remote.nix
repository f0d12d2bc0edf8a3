# Logging in from afar, by key alone. Whose keys is said by a flake that builds on this one.
{ lib, ... }:
{
  services.openssh = {
    enable = lib.mkDefault true;
    settings = {
      KbdInteractiveAuthentication = lib.mkDefault false;
      PasswordAuthentication = lib.mkDefault false;
    };
  };
}
