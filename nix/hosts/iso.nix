# A system that boots from a CD or a USB stick: system.build.isoImage.
{ lib, modulesPath, ... }:
{
  imports = [ "${modulesPath}/installer/cd-dvd/iso-image.nix" ];

  hardware.enableRedistributableFirmware = lib.mkDefault true;

  isoImage = {
    makeEfiBootable = true;
    makeUsbBootable = true;
  };
}
