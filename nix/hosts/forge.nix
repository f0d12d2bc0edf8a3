# The forge's host: one guest, on QEMU's user-mode network only, with nothing of it on the LAN.
{ lib, ... }:
{
  imports = [ ./remote.nix ];

  networking.hostName = lib.mkDefault "ecp-forge";

  # Without the overlay root: a forge is there to keep things.
  services.every-channel.runner.enable = true;

  services.every-channel.ipxe-qemu = {
    enable = true;
    vcpus = lib.mkDefault 1;
    memoryMiB = lib.mkDefault 2048;
    disk.size = lib.mkDefault "8G";
  };
}
