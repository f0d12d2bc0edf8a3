# A node's report on its boot, to the boot server that it came from. What it was given of that server stands on the kernel's
# command line; report.sh does the rest.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.every-channel.report;
  unit = "every-channel-report";
  state = "every-channel/report";
  runner = config.services.every-channel.runner or { };
  onDisk = runner.enable or false && runner.follow.enable && runner.follow.disk.enable;
  diskBoot = "/run/every-channel/disk-boot/arguments";

  inherit (import ./systemd.nix { inherit lib; }) sandbox;

  script = pkgs.writeShellScript unit (builtins.readFile ./report.sh);
in
{
  imports = [
    ./ec-report-initrd.nix
    ./ec-report-options.nix
  ];

  config = lib.mkIf cfg.enable {
    # No dynamic one: D-Bus answers nobody whom it cannot look up, and that takes a name service of systemd's.
    users.users.${unit} = {
      isSystemUser = true;
      group = unit;
      description = "every.channel boot report";
    };
    users.groups.${unit} = { };

    systemd.services.${unit} = {
      description = "Report on this boot to the boot server";
      documentation = [ "https://every.channel" ];
      wantedBy = [ "multi-user.target" ];
      # Reached once all is well that is required by it (systemd.special(7)); the report says so, and does not wait in
      # the way of anything.
      wants = [ "boot-complete.target" ];
      unitConfig = {
        # The boot server has said where to, or an installation has left word of it. What installs is up when that is.
        ConditionKernelCommandLine = [
          "|every_channel.report"
        ]
        ++ lib.optional (config.services.every-channel.install.enable or false) "!every_channel.install";
        ConditionPathExists = [ "|/var/lib/${state}/first-boot" ] ++ lib.optional onDisk "|${diskBoot}";
      };

      # There is one report a boot.
      restartIfChanged = false;

      path = [
        config.systemd.package
        pkgs.coreutils
        pkgs.curl
        pkgs.gnused
      ];
      environment = {
        NODE_SCRIPTS = "${./node}";
        REPORT_HEALTH_UNITS = toString (lib.unique cfg.healthUnits);
        REPORT_HOLD_SECONDS = toString cfg.holdSeconds;
        REPORT_JOURNAL_KIB = toString cfg.journalKiB;
        REPORT_REDACT = "${./redact.sed}";
      }
      // lib.optionalAttrs onDisk { REPORT_DISK_BOOT = diskBoot; };

      serviceConfig = sandbox // {
        # Its start is over before its program is there: multi-user.target waits for no more.
        Type = "simple";
        ExecStart = "${script} /proc/cmdline";
        # What has been said is not said again when a system is switched to.
        RemainAfterExit = true;
        Restart = "on-failure";
        RestartSec = 30;
        TimeoutStopSec = 10;
        Nice = 10;

        User = unit;
        Group = unit;
        SupplementaryGroups = [ "systemd-journal" ];
        RuntimeDirectory = unit;
        RuntimeDirectoryMode = "0700";
        StateDirectory = state;
        StateDirectoryMode = "0700";
        PrivateDevices = true;
        PrivateMounts = true;
        PrivateUsers = true;
        # The kernel's command line.
        ProcSubset = "all";
        SocketBindDeny = "any";
        MemoryMax = "128M";
        TasksMax = 32;
      };
    };
  };
}
