# The name of an image's file: what the system is, and not NixOS's installer.
{
  config,
  lib,
  options,
  pkgs,
  ...
}:
let
  inherit (config.system) name nixos;

  # Above what nixpkgs' images set, and below a mkForce of whoever builds on this.
  image = lib.mkOverride 60;
  baseName = "${name}-${nixos.label}-${pkgs.stdenv.hostPlatform.system}";
in
{
  config =
    # Since nixpkgs 2025-05 all kinds of images are named there.
    if options ? image.baseName then
      { image.baseName = image baseName; }
    else
      lib.optionalAttrs (options ? isoImage.isoName) { isoImage.isoName = image "${baseName}.iso"; }
      // lib.optionalAttrs (options ? sdImage.imageName) {
        sdImage.imageName = image "${baseName}.img";
      };
}
