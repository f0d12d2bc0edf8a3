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

  inherit (import ./systemd.nix { inherit lib; }) sandbox unitName;
  inherit (lib) mkOption types;

  script = pkgs.writeShellScript unit (builtins.readFile ./follow.sh);
  diskBoot = "/run/every-channel/disk-boot/arguments";
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
  };

  config = lib.mkIf enabled {
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
      ];
      environment = {
        FOLLOW_SECONDS = toString cfg.everySeconds;
        FOLLOW_UNITS = toString (lib.unique cfg.beforeReboot);
      }
      // lib.optionalAttrs cfg.disk.enable {
        FOLLOW_DISK_BOOT = diskBoot;
        FOLLOW_INSTALLED = "${./follow-installed.sh}";
        FOLLOW_STATE = "/var/lib/every-channel/node";
        FOLLOW_ESP = config.boot.loader.efi.efiSysMountPoint;
        FOLLOW_TRIES = toString cfg.disk.tries;
        FOLLOW_RUNNING = "/run/booted-system";
        # The daemon writes to the store, and not this service.
        NIX_REMOTE = "daemon";
        # What Nix knows of caches, as long as this service runs.
        HOME = "/tmp";
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
        MemoryMax = if cfg.disk.enable then "512M" else "64M";
        TasksMax = 32;
      }
      // lib.optionalAttrs cfg.disk.enable {
        StateDirectory = "every-channel/node";
        StateDirectoryMode = "0700";
        ReadWritePaths = [ config.boot.loader.efi.efiSysMountPoint ];
      };
    };
  };
}
