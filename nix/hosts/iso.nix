# A system that boots from a CD or a USB stick: system.build.isoImage.
{
  config,
  lib,
  modulesPath,
  options,
  pkgs,
  ...
}:
let
  inherit (config.system) name nixos;

  # Above what nixpkgs' image sets, and below a mkForce of whoever builds on this.
  image = lib.mkOverride 60;
in
{
  imports = [
    "${modulesPath}/installer/cd-dvd/iso-image.nix"
    ./image-name.nix
    ./volatile-host-keys.nix
  ];

  hardware.enableRedistributableFirmware = lib.mkDefault true;

  # What stands in the boot menus is this system, and not NixOS's installer.
  isoImage = {
    makeEfiBootable = true;
    makeUsbBootable = true;
    prependToMenuLabel = image "${name}, ";
    appendToMenuLabel = image "";
    syslinuxTheme = image (
      lib.replaceStrings [ "MENU TITLE ${nixos.distroName}\n" ] [ "MENU TITLE ${name}\n" ]
        options.isoImage.syslinuxTheme.default
    );
    # The kernel finds the medium by it. ISO 9660 has 32 characters for it.
    volumeID = image (lib.substring 0 32 "${name}-${pkgs.stdenv.hostPlatform.uname.processor}");
  };
}
