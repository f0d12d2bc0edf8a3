# A disk that keeps the image of the Nix store, of which stage 1 fetches what has changed alone.
{
  config,
  lib,
  modulesPath,
  options,
  pkgs,
  ...
}:
let
  cfg = config.services.every-channel.runner;
  path = "services.every-channel.runner.storeCache";
  enabled = cfg.storeCache != null && cfg.store == "http" && options ? netboot.storeContents;

  inherit (config.netboot) squashfsCompression storeContents;

  # The ends of files are compressed together, each store path's for themselves: else one file that changes
  # would change all that come after it.
  actions =
    pkgs.runCommand "${config.system.name}-store.actions"
      {
        closure = pkgs.closureInfo { rootPaths = storeContents; };
        meta.description = "What mksquashfs is to do with each store path";
      }
      ''
        while read -r path; do
          name=''${path##*/}
          echo "fragment(\"$name\")@subpathname(\"$name\")"
        done < $closure/store-paths > $out
      '';
in
{
  options.services.every-channel.runner.storeCache = lib.mkOption {
    type = lib.types.nullOr (lib.types.strMatching "/dev/[^[:space:]]+");
    default = null;
    example = "/dev/disk/by-partlabel/ec-store-cache";
    description = ''
      A disk or partition, of no other use, that keeps the image which stage 1 fetches
      ({option}`services.every-channel.runner.store` is `http`; without the runner profile too). Each boot finds there what it
      has already, holds it against the SHA-256 of each piece in the initrd, and fetches what has changed alone. The store is
      read from the disk then, and takes no memory.

      It has to have room for the image twice, and 8 MiB. It is written to only where its first MiB is empty, or
      has nothing but what comes from here. Without it, or room on it, the image goes into memory. Its driver has to be in stage 1
      ({option}`boot.initrd.availableKernelModules`).
    '';
  };

  config = lib.mkMerge [
    {
      assertions = [
        {
          assertion = cfg.storeCache == null || cfg.store == "http";
          message = ''${path} keeps what stage 1 fetches: set services.every-channel.runner.store = "http", or leave it out'';
        }
      ];
    }
    (lib.optionalAttrs (options ? netboot.storeContents) (
      lib.mkIf enabled {
        # A loop device already, since on a disk the image does not stand at the beginning.
        fileSystems."/nix/.ro-store" = lib.mkImageMediaOverride {
          # nixpkgs's less `loop`: what `neededForBoot` says. (Not every kernel knows `threads=`, which newer ones have.)
          options = lib.mkForce [ "x-initrd.mount" ];
        };

        system.build = {
          # Without compression there is nothing to be compressed together.
          squashfsStore = lib.mkIf (squashfsCompression != null) (
            lib.mkForce (
              pkgs.callPackage "${modulesPath}/../lib/make-squashfs.nix" {
                inherit storeContents;
                comp = "${squashfsCompression} -action-file ${actions}";
              }
            )
          );

          storeChunks =
            pkgs.runCommand "${config.system.name}-store.chunks"
              {
                meta.description = "A Nix store's image, cut by its content";
              }
              ''
                ${lib.getExe pkgs.buildPackages.python3} ${./cut-store.py} ${config.system.build.squashfsStore} > $out
              '';
        };
      }
    ))
  ];
}
