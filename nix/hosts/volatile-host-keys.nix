# SSH host keys of a system that makes them anew at each boot: of the one kind that takes no time.
{ lib, ... }:
{
  services.openssh.hostKeys = lib.mkDefault [
    {
      type = "ed25519";
      path = "/etc/ssh/ssh_host_ed25519_key";
    }
  ];
}
