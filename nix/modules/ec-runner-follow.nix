# A node that follows its group from release to release, of ec-runner.nix: follow.sh asks the boot server, and has it boot again.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.every-channel.runner.follow;
  enabled = config.services.every-channel.runner.enable && cfg.enable;
  unit = "every-channel-follow";

  inherit (import ./systemd.nix { inherit lib; })
    plain
    quoted
    sandbox
    unitName
    ;
  inherit (lib) mkOption types;

  path = "services.every-channel.runner.follow";

  script = pkgs.writeShellScript unit (builtins.readFile ./follow.sh);
  diskBoot = "/run/every-channel/disk-boot/arguments";
  isSigned = cfg.signature != null;
  arguments = pkgs.writeText "every-channel-follow-arguments" (
    lib.concatMapStrings (argument: "${argument}\n") cfg.signature.allowedArguments
  );
  # What checks a signature, and no more than that.
  verifiers = {
    minisign = pkgs.minisign;
    openssh = pkgs.openssh;
    openssl = pkgs.openssl;
  };
  directory = "every-channel-follow";
  # nixpkgs' own switch (security.protectKernelImage) sets it, among others.
  isKexecDisabled = toString (config.boot.kernel.sysctl."kernel.kexec_load_disabled" or 0) == "1";
in
{
  imports = [ ./ec-runner-follow-disk.nix ];

  options.services.every-channel.runner.follow = {
    enable = lib.mkEnableOption ''
      following: a machine that a boot server of every.channel has booted asks that server what it is to boot next, and
      boots again where that is another release: the group's, or a rollout's once its wave has a place. Where the group
      has slots it waits for one. Where the kernel's command line has no `every_channel.report=`, nothing is done, but on a
      machine that such a server has installed ({option}`services.every-channel.runner.follow.disk.enable`).

      A group without a `release` and a `channel` boots what is current: its nodes boot again at each staging'';

    everySeconds = mkOption {
      type = types.ints.between 5 86400;
      default = 60;
      example = 600;
      description = "Seconds between two questions.";
    };

    beforeReboot = mkOption {
      type = types.listOf (types.strMatching unitName);
      default = [ ];
      example = [ "drain.service" ];
      description = ''
        Units that are started before the machine boots again, one after the other; a service of the type `oneshot` is
        waited for. Where one fails the machine stays as it is, gives its slot back, and asks again. It has taken its place
        in the rollout by then, and counts as failed where it is not back, healthy, in the rollout's time.
      '';
    };

    kexec = mkOption {
      type = types.bool;
      default = cfg.signature != null;
      defaultText = lib.literalMD "whether {option}`${path}.signature` is set";
      example = true;
      description = ''
        Whether the kernel that runs starts the next release's by itself (kexec), in place of the firmware: after it has fetched
        kernel and initrd from the boot server and compared their SHA-256. It saves the firmware's time, and what was checked
        is what is started. Devices are not reset by it as a reboot does. Where it cannot be done (too little memory, a kernel
        that takes no other one), the machine reboots, unless {option}`${path}.signature.reboot` says otherwise.
      '';
    };

    signature = mkOption {
      default = null;
      example = {
        format = "minisign";
        publicKeyFiles = [ "/etc/nixos/release.pub" ];
        channel = "stable";
      };
      description = ''
        The key by which this system checks, itself, what its boot server leads it to: kernel, initrd and kernel arguments have
        to be those that were signed when the release was packed (`ectools netboot pack` with a key), for the system that runs,
        and newer than that. Null: it goes where the boot server says. Of a boot by firmware it proves nothing.
      '';
      type = types.nullOr (
        types.submodule {
          options = {
            format = mkOption {
              type = types.enum [
                "minisign"
                "openssh"
                "openssl"
              ];
              example = "minisign";
              description = "What the release was signed with; as the boot host's {option}`services.every-channel.netboot.release.signature.format`.";
            };
            publicKeyFiles = mkOption {
              type = types.nonEmptyListOf types.path;
              example = lib.literalExpression "[ ./release.pub ]";
              description = ''
                Files with a public key each, any of which counts: to change a key, a release has both. A path becomes part of the
                system's closure; a text names a file of the running system, which this option does not make.
              '';
            };
            channel = mkOption {
              type = types.nullOr (types.strMatching (import ./names.nix).name);
              default = null;
              example = "stable";
              description = ''
                The channel that has to lead to a release, by its signed pointer, which has not expired and does not go back
                (`ectools netboot promote`). Without one, nothing that was signed is withdrawn, and nothing expires.
              '';
            };
            allowedArguments = mkOption {
              type = types.listOf (types.strMatching "[!-~]+");
              default = [ ];
              example = [ "console=ttyS0,115200" ];
              description = ''
                Kernel arguments that the boot server may add to those that were signed, each as it is, such as those of its fleet
                file. What it says of the boot itself (`every_channel.report=` and the like) it always may.
              '';
            };
            reboot = mkOption {
              type = types.bool;
              default = false;
              example = true;
              description = ''
                Whether the machine reboots where the next kernel cannot be started from here. Its firmware then boots whatever
                answers it.
              '';
            };
          };
        }
      );
    };
  };

  config = lib.mkIf enabled {
    assertions = [
      {
        # One that boots from its disk has no need of either.
        assertion = isSigned -> cfg.kexec || cfg.signature.reboot || cfg.disk.enable;
        message = "${path}: with signature set and kexec off this machine never boots again: set ${path}.kexec, or ${path}.signature.reboot, which proves nothing";
      }
      {
        assertion =
          isSigned
          -> lib.all (
            file: builtins.match ".*[[:space:]].*" (toString file) == null
          ) cfg.signature.publicKeyFiles;
        message = "${path}.signature.publicKeyFiles: a file's name must have no blanks";
      }
      {
        assertion = cfg.kexec -> !isKexecDisabled;
        message = "${path}.kexec: this system's kernel takes no other one (boot.kernel.sysctl.\"kernel.kexec_load_disabled\", which security.protectKernelImage sets): unset that, or ${path}.kexec";
      }
    ];

    systemd.services.${unit} = {
      description = "Follow the boot server from release to release";
      documentation = [ "https://every.channel" ];
      wantedBy = [ "multi-user.target" ];
      unitConfig = {
        ConditionKernelCommandLine = "${lib.optionalString cfg.disk.enable "|"}every_channel.report";
        ConditionPathExists = lib.mkIf cfg.disk.enable "|${diskBoot}";
      };

      path = [
        config.systemd.package
        pkgs.coreutils
        pkgs.curl
      ]
      ++ lib.optionals cfg.disk.enable [
        config.nix.package
        pkgs.diffutils
        pkgs.gnugrep
        pkgs.gnused
      ]
      ++ lib.optional cfg.kexec pkgs.kexec-tools
      ++ lib.optional isSigned verifiers.${cfg.signature.format};
      environment = {
        NODE_SCRIPTS = "${./node}";
        FOLLOW_SECONDS = toString cfg.everySeconds;
        FOLLOW_UNITS = toString (lib.unique cfg.beforeReboot);
        FOLLOW_TRUST = "${./follow-trust.sh}";
        FOLLOW_BY_KEXEC = "${./follow-kexec.sh}";
      }
      // lib.optionalAttrs cfg.disk.enable {
        FOLLOW_DISK_BOOT = diskBoot;
        FOLLOW_INSTALLED = "${./follow-installed.sh}";
        FOLLOW_STATE = "/var/lib/every-channel/disk";
        FOLLOW_ESP = plain config.boot.loader.efi.efiSysMountPoint;
        FOLLOW_TRIES = toString cfg.disk.tries;
        FOLLOW_RUNNING = "/run/booted-system";
        # The daemon writes to the store, and not this service.
        NIX_REMOTE = "daemon";
        # What Nix knows of caches, as long as this service runs.
        HOME = "/tmp";
      }
      // lib.optionalAttrs (cfg.kexec || isSigned) {
        FOLLOW_KEXEC = lib.optionalString cfg.kexec "yes";
        FOLLOW_DIRECTORY = "/run/${directory}";
      }
      // lib.optionalAttrs isSigned {
        FOLLOW_REBOOT = lib.optionalString cfg.signature.reboot "yes";
        FOLLOW_SIGNATURE = cfg.signature.format;
        FOLLOW_KEYS = plain (toString (lib.unique (map (file: "${file}") cfg.signature.publicKeyFiles)));
        FOLLOW_CHANNEL = toString cfg.signature.channel;
        FOLLOW_ARGUMENTS = "${arguments}";
      };

      # Root, who may start units and reboot, and nothing else of root.
      serviceConfig = sandbox // {
        ExecStart = "${script} /proc/cmdline";
        Restart = "on-failure";
        RestartSec = 30;
        TimeoutStopSec = 10;
        Nice = 10;

        PrivateDevices = true;
        PrivateMounts = true;
        # The kernel's command line.
        ProcSubset = "all";
        SocketBindDeny = "any";
        TasksMax = 32;
      }
      # A kernel and an initrd, in memory: whether there is room for them the program looks at.
      // lib.optionalAttrs (!cfg.kexec) { MemoryMax = if cfg.disk.enable then "512M" else "64M"; }
      // lib.optionalAttrs cfg.disk.enable {
        StateDirectory = "every-channel/disk";
        StateDirectoryMode = "0700";
        ReadWritePaths = [ (quoted config.boot.loader.efi.efiSysMountPoint) ];
      }
      // lib.optionalAttrs cfg.kexec {
        CapabilityBoundingSet = [ "CAP_SYS_BOOT" ];
        SystemCallFilter = sandbox.SystemCallFilter ++ [
          "kexec_file_load"
          "kexec_load"
        ];
      }
      // lib.optionalAttrs (cfg.kexec || isSigned) {
        RuntimeDirectory = directory;
        RuntimeDirectoryMode = "0700";
        # What was seen of the channel, and what runs.
        RuntimeDirectoryPreserve = "restart";
      };
    };
  };
}
