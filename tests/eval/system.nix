# A NixOS system with all modules of this repository, for tests.
#
#   nixpkgs  path of a nixpkgs tree with a flake.nix, as a string
#   config   the system's configuration, as JSON text; { "package": NAME } stands for a package of that nixpkgs
#   modules  further modules
{
  nixpkgs,
  config,
  modules ? [ ],
}:
let
  flake = builtins.getFlake "path:${nixpkgs}";
  packages = flake.legacyPackages.x86_64-linux;

  resolve =
    value:
    if
      builtins.isAttrs value
      && builtins.attrNames value == [ "package" ]
      && builtins.isString value.package
    then
      packages.${value.package}
    else if builtins.isAttrs value then
      builtins.mapAttrs (_: resolve) value
    else
      value;

  system = flake.lib.nixosSystem {
    system = "x86_64-linux";
    modules = [
      (import ../../nix/nixos-modules.nix).default
      {
        system.stateVersion = "26.05";
        boot.loader.grub.enable = flake.lib.mkDefault false;
        fileSystems."/" = {
          device = flake.lib.mkDefault "/dev/disk/by-label/root";
          fsType = flake.lib.mkDefault "ext4";
        };
      }
      (resolve (builtins.fromJSON config))
    ]
    ++ modules;
  };
  stage1 = system.config.boot.initrd.systemd;
in
{
  inherit (system) config options pkgs;
  failed = map (a: a.message) (builtins.filter (a: !a.assertion) system.config.assertions);

  nodeUnit = system.config.systemd.units."every-channel-node.service".unit;

  overlayRoot =
    if stage1.enable then
      {
        inherit (stage1.units."every-channel-overlay-root.service") text unit;
        inherit (stage1.services.every-channel-overlay-root) script;
      }
    else
      { script = system.config.boot.initrd.postMountCommands; };
}
