# A system on a disk of its own, which UEFI boots: a partition labelled EC-BOOT, which is the EFI system partition, and
# one labelled ec-root.
{ lib, pkgs, ... }:
{
  fileSystems = {
    "/" = {
      device = "/dev/disk/by-label/ec-root";
      fsType = "ext4";
    };
    "/boot" = {
      device = "/dev/disk/by-label/EC-BOOT";
      fsType = "vfat";
      options = [ "umask=0077" ];
    };
  };

  boot = {
    loader = {
      # It puts itself where firmware looks by itself, so the disk boots in any machine. NixOS checks its installer with
      # mypy; a package set that is there for evaluation alone may lack that, and yields a system without a boot loader.
      systemd-boot.enable = lib.mkDefault (pkgs.buildPackages ? mypy);
      grub.enable = lib.mkDefault false;
      timeout = lib.mkDefault 3;
    };
    initrd.availableKernelModules = [
      "ahci"
      "nvme"
      "sd_mod"
      "uas"
      "usb_storage"
      "usbhid"
      "virtio_blk"
      "virtio_pci"
      "virtio_scsi"
      "xhci_pci"
    ];
  };

  hardware.enableRedistributableFirmware = lib.mkDefault true;
  hardware.cpu = lib.mkIf pkgs.stdenv.hostPlatform.isx86 {
    amd.updateMicrocode = lib.mkDefault true;
    intel.updateMicrocode = lib.mkDefault true;
  };
}
