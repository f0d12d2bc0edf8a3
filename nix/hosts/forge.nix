# The forge's host: one guest, on QEMU's user-mode network only, with nothing of it on the LAN.
{ lib, ... }:
{
  imports = [ ./remote.nix ];

  # Less than a default: whoever knows the machine's name may have one.
  networking.hostName = lib.mkOverride 1100 "ecp-forge";

  # Without the overlay root: a forge is there to keep things.
  services.every-channel.runner.enable = true;

  services.every-channel.ipxe-qemu = {
    enable = true;
    vcpus = lib.mkDefault 1;
    memoryMiB = lib.mkDefault 2048;
    disk.size = lib.mkDefault "8G";
    # What it boots comes with the host's system, and so changes with it.
    restartIfChanged = lib.mkDefault true;
  };
}
