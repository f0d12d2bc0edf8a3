# The overlay root of ec-runner.nix: the root file system read-only, and above it one in memory that takes the writes.
#
# The root is mounted as NixOS mounts it, checked and grown before as usual; then, still in stage 1, the overlay comes
# between it and all that follows. What persists is bound from the real root, writable, over the overlay. So the file
# system below stays writable, and its mount at /run/every-channel/root is not.
{
  config,
  lib,
  options,
  utils,
  ...
}:
let
  cfg = config.services.every-channel.runner.overlayRoot;
  path = "services.every-channel.runner.overlayRoot";
  enabled = config.services.every-channel.runner.enable && cfg.enable;

  # NixOS 26.05 is the last with a scripted stage 1. After it, the options of that one and the choice are gone, or there to
  # say so: lib.mkRemovedOptionModule makes such an option invisible, and an error to read.
  isOption = option: option != null && option.visible or true != false;
  scripted =
    isOption (options.boot.initrd.postMountCommands or null)
    && isOption (options.boot.initrd.systemd.enable or null)
    && !config.boot.initrd.systemd.enable;

  real = "/run/every-channel/root";
  layer = "/run/every-channel/overlay";

  isBelow = directory: file: file == directory || lib.hasPrefix "${directory}/" file;
  mountPoints = lib.remove "/" (lib.mapAttrsToList (_: fs: fs.mountPoint) config.fileSystems);
  hasOwnFileSystem = file: lib.any (mountPoint: isBelow mountPoint file) mountPoints;

  # Those that no other one of them brings along.
  withoutBelow =
    files: lib.filter (file: !lib.any (other: other != file && isBelow other file) files) files;

  # What has a file system of its own is not on the root. Bound before that is mounted, it would even keep systemd from
  # mounting it.
  onRoot = lib.filter (file: !hasOwnFileSystem file) (
    lib.unique (
      [
        "/boot"
        "/nix"
        # No default of the option's, which any definition would replace.
        "/var/lib/every-channel"
        "/var/lib/nixos"
        "/var/lib/systemd"
      ]
      ++ cfg.persist
    )
  );
  persistent = withoutBelow onRoot;

  # What other modules of ours keep, where a host has them: option → path.
  inherit (config.services) every-channel;
  kept =
    lib.optionalAttrs (every-channel.ipxe-qemu.enable or false) {
      "ipxe-qemu.disk.path" = every-channel.ipxe-qemu.disk.path;
      "ipxe-qemu.stateDir" = every-channel.ipxe-qemu.stateDir;
    }
    // lib.optionalAttrs (every-channel.netboot.enable or false) {
      "netboot.stateDir" = every-channel.netboot.stateDir;
    };
  isLost = file: !lib.any (directory: isBelow directory file) (mountPoints ++ persistent);

  # Without Perl's script, which writes them to /var/lib/nixos, user numbers are in the passwd file alone.
  userborn = config.services.userborn or { };
  forgetful =
    lib.optional (config.systemd.sysusers.enable or false) "systemd.sysusers"
    ++ lib.optional (
      userborn.enable or false && isLost (userborn.passwordFilesLocation or "/etc")
    ) "services.userborn";

  # What stage 1 mounts besides the root, without what comes along with another.
  early = map (fs: fs.mountPoint) (
    lib.filter (fs: fs.mountPoint != "/" && utils.fsNeededForBoot fs) config.system.build.fileSystems
  );
  topmost = withoutBelow early;

  forEach = files: step: lib.concatMapStrings (file: "${step file}\n") files;
  at = directory: file: lib.escapeShellArg (directory + file);

  # For the shells of both stage 1s, with `attempt` before each command that must not fail.
  #   root       where stage 1 has mounted the root
  #   take       the option of mount(8) by which the root comes to `real`
  #   leave      what is done to `root` before the overlay lies on it
  #   bringBack  what stands between the overlay and the end
  interpose =
    {
      root,
      take,
      leave ? "",
      bringBack ? "",
    }:
    ''
      attempt mkdir -p ${real} ${layer}
      attempt mount ${take} ${root} ${real}
      # Of two mounts that share, one would get the overlay that is meant for the other.
      attempt mount --make-private ${real}
      ${forEach persistent (file: "attempt mkdir -p ${at real file}")}
      # Made once, and then the machine's own: DHCP clients are known by it.
      id=
      if [ -f ${real}/etc/machine-id ]; then read -r id < ${real}/etc/machine-id || true; fi
      case $id in *[!0-9a-f]*) id= ;; esac
      if [ "''${#id}" -ne 32 ] && ! [ -L ${real}/etc/machine-id ]; then
        attempt mkdir -p ${real}/etc
        tr -d - < /proc/sys/kernel/random/uuid > ${real}/etc/machine-id
        attempt chmod 0444 ${real}/etc/machine-id
      fi
      ${leave}
      attempt mount -t tmpfs -o mode=0700,size=${cfg.size} every-channel-overlay ${layer}
      attempt mkdir ${layer}/upper ${layer}/work
      # The upper directory's is the mode of /.
      attempt chmod 0755 ${layer}/upper
      attempt mount -t overlay -o lowerdir=${real},upperdir=${layer}/upper,workdir=${layer}/work overlay ${root}
      ${forEach persistent (file: "attempt mount --bind ${at real file} ${at root file}")}
      ${bringBack}
      attempt mount -o remount,bind,ro ${real}
    '';

  inherit (lib) mkOption types;
in
{
  options.services.every-channel.runner.overlayRoot = {
    enable = lib.mkEnableOption ''
      the overlay root: the root file system is mounted read-only, and all that is written to it goes to memory and is
      gone after a reboot, except for {file}`/nix`, {file}`/boot` and {option}`${path}.persist`'';

    persist = mkOption {
      type = types.listOf (types.strMatching "(/[^/]+)+");
      default = [ ];
      example = [ "/home" ];
      description = ''
        Directories on the root file system that keep what is written to them, beside {file}`/nix` and {file}`/boot`; they
        are made where they are missing. What has an entry of its own in {option}`fileSystems` persists by itself.

        Three are always kept, and need no mention: {file}`/var/lib/every-channel`, the state of every.channel's own services;
        {file}`/var/lib/nixos`, the user numbers that NixOS has given out (files that persist have owners); and
        {file}`/var/lib/systemd`: when each timer ran last, the clock, the seed of random numbers, core dumps. To keep one of
        them in memory, give it a tmpfs in {option}`fileSystems`.

        A path that is a file stops the boot in stage 1: most programs replace a file rather than write to it, which no
        file that is mounted by itself allows. List the directory that it is in.
      '';
    };

    size = mkOption {
      type = types.strMatching "[1-9][0-9]*[kKmMgG%]?";
      default = "50%";
      example = "2G";
      description = ''
        How much memory the writes may take, as tmpfs(5) counts it. When it is full, writes fail as on a full disk.
      '';
    };
  };

  config = lib.mkIf enabled {
    assertions = [
      {
        assertion = config.boot.initrd.enable;
        message = "${path}.enable needs a stage 1 of the system's own, and boot.initrd.enable is false: switch it off";
      }
      {
        # There is none where systemd finds the root by itself (boot.initrd.systemd.root).
        assertion = lib.all (fs: fs.mountPoint != "/" || fs.fsType != "tmpfs") (
          lib.attrValues config.fileSystems
        );
        message = ''${path}.enable needs a root file system on a disk, and fileSystems."/" is a tmpfs: switch it off'';
      }
      {
        # GRUB is told the path of a kernel below the mount that it lies in, and takes that mount's root for the file
        # system's.
        assertion =
          config.boot.loader.grub.enable
          -> lib.all (boot: hasOwnFileSystem boot.path) config.boot.loader.grub.mirroredBoots;
        message = ''${path}.enable with GRUB needs a file system of its own for /boot: set fileSystems."/boot"'';
      }
    ];

    warnings =
      lib.mapAttrsToList (
        option: file:
        "services.every-channel.${option} (${file}) is in memory, and gone after a reboot: ${path}.persist does not have it"
      ) (lib.filterAttrs (_: isLost) kept)
      ++ map (
        option:
        "${option} writes user numbers to a file in memory, and after a reboot a user may have another one's: "
        + "give the users whose files persist a number (users.users.NAME.uid, users.groups.NAME.gid)"
        + lib.optionalString (
          option == "services.userborn"
        ) ", or set services.userborn.passwordFilesLocation to a directory that persists, such as /var/lib/nixos"
      ) forgetful;

    # A host key that changes with each boot would be useless.
    services.openssh.hostKeys = lib.mkDefault [
      {
        type = "ed25519";
        path = "/var/lib/every-channel/ssh/ssh_host_ed25519_key";
      }
    ];

    boot.initrd = {
      kernelModules = [ "overlay" ];

      systemd.services.every-channel-overlay-root = lib.mkIf (!scripted) {
        description = "Overlay in memory above the read-only root";
        # Without it there is no system to go on to.
        requiredBy = [
          "initrd-root-fs.target"
          "initrd-fs.target"
        ];
        requires = [ "sysroot.mount" ];
        after = [
          "sysroot.mount"
          # It grows the file system by its mount point.
          "systemd-growfs-root.service"
        ];
        before = [
          "initrd-root-fs.target"
          "initrd-fs.target"
          # It makes the directories of the overlay at /etc, where there is one.
          "rw-etc.service"
        ]
        # What is mounted before the overlay would lie hidden below it.
        ++ map (file: "${utils.escapeSystemdPath file}.mount") (
          lib.unique (
            map (file: "/sysroot${file}") early
            ++ lib.filter (lib.hasPrefix "/sysroot/") (
              map (mount: mount.where) config.boot.initrd.systemd.mounts
            )
          )
        );
        unitConfig.DefaultDependencies = false;
        serviceConfig = {
          Type = "oneshot";
          RemainAfterExit = true;
        };
        # The mount stays where systemd knows it, below the overlay: moved, it would be a mount unit that failed.
        script = ''
          attempt() { "$@"; }
          ${interpose {
            root = "/sysroot";
            take = "--bind";
            leave = "attempt mount -o remount,bind,ro /sysroot";
          }}
        '';
      };

      # NixOS binds /run to /sysroot/run without what is mounted below it, and with that systemd leaves the rest of /run
      # behind. As late as can be, since what binds it differs: a mount unit, the activation, or nothing at all, and
      # then systemd takes /run along by itself.
      systemd.services.every-channel-overlay-root-run = lib.mkIf (!scripted) {
        description = "The overlay root's own mounts below /sysroot/run";
        requiredBy = [ "initrd-switch-root.service" ];
        after = [
          "every-channel-overlay-root.service"
          "initrd-nixos-activation.service"
          "sysroot-run.mount"
        ];
        before = [ "initrd-switch-root.service" ];
        unitConfig.DefaultDependencies = false;
        serviceConfig = {
          Type = "oneshot";
          RemainAfterExit = true;
        };
        script = ''
          is_mounted() {
            while read -r _ _ _ _ where _; do
              if [ "$where" = "$1" ]; then return; fi
            done < /proc/self/mountinfo
            return 1
          }
          if is_mounted /sysroot/run; then
            # Else each would be mounted on top of itself below /run too.
            mount --make-private /sysroot/run
            for directory in ${layer} ${real}; do
              if ! is_mounted "/sysroot$directory"; then mount --bind "$directory" "/sysroot$directory"; fi
            done
          fi
        '';
      };
    }
    // lib.optionalAttrs (options ? boot.initrd.postMountCommands) {
      postMountCommands = lib.mkIf scripted (
        # Before what others do with the root.
        lib.mkBefore ''
          attempt() {
            "$@" && return
            echo "overlay root: failed: $*"
            fail
          }
          ${interpose {
            root = "/mnt-root";
            # With all that is mounted below it.
            take = "--move";
            bringBack = forEach topmost (file: "attempt mount --move ${at real file} ${at "/mnt-root" file}");
          }}
        ''
      );
    };

    systemd = {
      # Both would apply to / what is meant for the file system below the overlay.
      services = lib.genAttrs [ "systemd-growfs-root" "systemd-remount-fs" ] (_: {
        unitConfig.ConditionPathIsMountPoint = "!${layer}";
      });

      # systemd-shutdown makes every file system read-only that it finds mounted, so that it is left clean. The overlay
      # holds this one until the end, and without this mount nothing would lead to it by then.
      units."${utils.escapeSystemdPath real}.mount" = {
        overrideStrategy = "asDropin";
        text = ''
          [Unit]
          DefaultDependencies=no
        '';
      };
    };
  };
}
