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
  inherit (config.system) name;

  # Above what nixpkgs' image sets, and below a mkForce of whoever builds on this.
  image = lib.mkOverride 60;
  baseName = "${name}-${config.system.nixos.label}-${pkgs.stdenv.hostPlatform.system}";
in
{
  imports = [
    "${modulesPath}/installer/cd-dvd/iso-image.nix"
    ./volatile-host-keys.nix
  ];

  config = {
    hardware.enableRedistributableFirmware = lib.mkDefault true;

    # What stands in the boot menus is this system, and not NixOS's installer.
    isoImage = {
      makeEfiBootable = true;
      makeUsbBootable = true;
      prependToMenuLabel = image "${name}, ";
      appendToMenuLabel = image "";
      # The kernel finds the medium by it. ISO 9660 has 32 characters for it.
      volumeID = image (lib.substring 0 32 "${name}-${pkgs.stdenv.hostPlatform.uname.processor}");
    }
    // lib.optionalAttrs (!options ? image.baseName) { isoName = image "${baseName}.iso"; };
  }
  # Since nixpkgs 2025-05 all kinds of images are named there.
  // lib.optionalAttrs (options ? image.baseName) { image.baseName = image baseName; };
}
