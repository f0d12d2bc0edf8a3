# The overlay root's module on a nixpkgs whose only stage 1 is systemd: the units that it adds to stage 1, by name.
#
#   form   what is left there of the options of the scripted stage 1: `gone`, or `removed`, which says so to whoever sets one
{
  nixpkgs,
  form,
}:
let
  lib = import "${nixpkgs}/lib";
  utils = import "${nixpkgs}/nixos/lib/utils.nix" {
    inherit lib;
    config = { };
    pkgs = { };
  };

  open = default: lib.mkOption { inherit default; };
  values = lib.mkOption {
    type = lib.types.attrsOf lib.types.anything;
    default = { };
  };

  system = lib.evalModules {
    specialArgs = { inherit utils; };
    modules = [
      ../../nix/modules/ec-runner-overlay-root.nix
      {
        options = {
          assertions = lib.mkOption { type = lib.types.listOf lib.types.anything; };
          warnings = lib.mkOption { type = lib.types.listOf lib.types.str; };
          boot = {
            loader.grub.enable = open false;
            initrd = {
              enable = open true;
              kernelModules = open [ ];
              systemd = {
                mounts = open [ ];
                services = values;
              };
            };
          };
          fileSystems = values;
          services = {
            every-channel.runner.enable = open true;
            openssh.hostKeys = open [ ];
          };
          system.build.fileSystems = open [ ];
          systemd = {
            services = values;
            units = values;
          };
        };
        config = {
          fileSystems."/" = {
            mountPoint = "/";
            fsType = "ext4";
          };
          services.every-channel.runner.overlayRoot.enable = true;
        };
      }
    ]
    ++ {
      gone = [ ];
      removed =
        map
          (name: lib.mkRemovedOptionModule ([ "boot" "initrd" ] ++ name) "Stage 1 is systemd.")
          [
            [ "postMountCommands" ]
            [
              "systemd"
              "enable"
            ]
          ];
    }
    .${form};
  };
in
assert lib.all (each: each.assertion) system.config.assertions;
lib.attrNames (
  lib.filterAttrs (_: unit: unit.script != "") system.config.boot.initrd.systemd.services
)
