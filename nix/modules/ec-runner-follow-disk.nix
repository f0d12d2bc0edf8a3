# Machines on whose disk a boot server has written their system: they tell it of each boot, and go on from there to the next
# release (ECP-0112). A part of ec-runner-follow.nix.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  follow = config.services.every-channel.runner.follow;
  cfg = follow.disk;
  path = "services.every-channel.runner.follow.disk";
  state = "every-channel/disk";
  update = "every-channel-update";
  booted = "every-channel-disk-boot";
  esp = config.boot.loader.efi.efiSysMountPoint;

  inherit (import ./systemd.nix { inherit lib; }) plain quoted sandbox;
  inherit (lib) mkOption types;

  settle = pkgs.writeShellScript update (builtins.readFile ./settle-update.sh);
  diskBoot = pkgs.writeShellScript booted (builtins.readFile ./disk-boot.sh);
  # The system may have no reports; then nobody but root reads where to.
  reporter = lib.optionalString config.services.every-channel.report.enable "every-channel-report";

  settled = verb: {
    documentation = [ "https://every.channel" ];
    restartIfChanged = false;
    path = [
      config.nix.package
      config.systemd.package
      pkgs.coreutils
      pkgs.gnugrep
    ];
    environment = {
      NODE_SCRIPTS = "${./node}";
      SETTLE_ESP = plain esp;
      SETTLE_RUNNING = "/run/booted-system";
      SETTLE_GENERATIONS = toString cfg.generations;
      SETTLE_SECONDS = toString cfg.trialSeconds;
      SETTLE_TRIES = toString cfg.tries;
    };
    unitConfig = {
      ConditionPathExists = "/var/lib/${state}/pending";
      RequiresMountsFor = [ "/var/lib/${state}" ];
    };
    serviceConfig = {
      ExecStart = "${settle} ${verb}";
      StateDirectory = state;
      StateDirectoryMode = "0700";
    };
  };
in
{
  options.services.every-channel.runner.follow.disk = {
    enable = mkOption {
      type = types.bool;
      default = config.boot.loader.systemd-boot.enable;
      defaultText = lib.literalExpression "config.boot.loader.systemd-boot.enable";
      example = false;
      description = ''
        Whether a machine that follows, and was installed by its boot server (`boot = "install"`), goes on to other releases
        on its disk: it copies the system from the boot server's cache, whose paths have to be signed by a key of
        {option}`nix.settings.trusted-public-keys`, and gives it an entry in the boot menu that is counted (systemd's Automatic
        Boot Assessment). Where the system does not reach {file}`boot-complete.target`, the boot loader goes back to the one
        before by itself. It takes systemd-boot. On a machine that has no credential of a boot server nothing is done.
      '';
    };

    tries = mkOption {
      type = types.ints.between 1 9;
      default = 2;
      example = 3;
      description = ''
        How often a new system is booted at the most until it comes up. With 1, a power cut while it starts is taken for a
        failure of it. One that the firmware or the boot loader does not start at all, so that the system before comes up
        instead, is given up after one time more than that (`bootctl set-default` and the key `d` in the boot menu choose one
        that stays).
      '';
    };

    trialSeconds = mkOption {
      type = types.ints.between 30 86400;
      default = 300;
      example = 900;
      description = ''
        How long a new system may take to reach {file}`boot-complete.target` before it boots again. It is reached after
        {file}`multi-user.target`, once {option}`services.every-channel.report.healthUnits` are up, and whatever else is
        required by it and ordered before it. One that hangs without systemd takes a watchdog
        ({option}`systemd.settings.Manager.RuntimeWatchdogSec`, earlier {option}`systemd.watchdog.runtimeTime`).
      '';
    };

    generations = mkOption {
      type = types.ints.between 2 100;
      default = 3;
      example = 5;
      description = ''
        How many systems stay in the boot menu, the one that runs among them. The kernels of all of them, and of one more,
        have to fit onto the EFI system partition. Older ones are removed once the next system has come up.
      '';
    };
  };

  config = lib.mkIf (config.services.every-channel.runner.enable && follow.enable && cfg.enable) {
    assertions = [
      {
        assertion = config.boot.loader.systemd-boot.enable;
        message = "${path}.enable needs boot.loader.systemd-boot.enable: that boot loader counts how often a system was tried";
      }
      {
        # It renames what is counted as soon as boot-complete.target is reached, and its NixOS's `preferred` goes before what is
        # on trial. nixpkgs has had the option twice, and taken it back twice.
        assertion = !(config.boot.loader.systemd-boot.bootCounting.enable or false);
        message = "${path}.enable counts the tries of a new system itself: leave boot.loader.systemd-boot.bootCounting.enable off, or switch ${path}.enable off";
      }
      {
        assertion = config.nix.enable;
        message = "${path}.enable needs nix.enable: systems are copied by Nix";
      }
    ];

    # A kernel that panics, and a stage 1 that fails, leave the machine to the boot loader again.
    boot.kernelParams = [
      "panic=10"
      "boot.panic_on_fail"
    ];

    systemd.services = {
      "${update}-look" = lib.recursiveUpdate (settled "look") {
        description = "Whether the boot loader has gone back to the system before";
        wantedBy = [ "multi-user.target" ];
        before = [
          "${booted}.service"
          "every-channel-follow.service"
        ];
        serviceConfig.Type = "oneshot";
        unitConfig.RequiresMountsFor = [
          "/var/lib/${state}"
          (quoted esp)
        ];
      };

      # The target alone is reached soon after sysinit.target: a system is good once it is up, and what its report waits for.
      "${update}-good" = lib.recursiveUpdate (settled "good") {
        description = "Whether a system on trial is up";
        requiredBy = [ "boot-complete.target" ];
        before = [ "boot-complete.target" ];
        after = [ "multi-user.target" ];
        environment.SETTLE_UNITS = toString (
          lib.optionals config.services.every-channel.report.enable (
            lib.unique config.services.every-channel.report.healthUnits
          )
        );
        unitConfig.DefaultDependencies = false;
        serviceConfig = {
          Type = "oneshot";
          RemainAfterExit = true;
          TimeoutStartSec = "infinity";
        };
      };

      "${update}-prove" = lib.recursiveUpdate (settled "prove") {
        description = "What has come up is this machine's system";
        wantedBy = [ "multi-user.target" ];
        requires = [ "boot-complete.target" ];
        after = [
          "boot-complete.target"
          "${update}-look.service"
        ];
        before = [ "shutdown.target" ];
        conflicts = [ "shutdown.target" ];
        serviceConfig.Type = "oneshot";
        unitConfig = {
          # Else multi-user.target, which goes before, would wait for it.
          DefaultDependencies = false;
          RequiresMountsFor = [
            "/var/lib/${state}"
            (quoted esp)
          ];
        };
      };

      # Also where the boot ends in an emergency shell, in front of which nobody sits.
      "${update}-watch" = lib.recursiveUpdate (settled "watch") {
        description = "A system on trial that does not come up boots again";
        wantedBy = [
          "emergency.target"
          "sysinit.target"
        ];
        after = [ "systemd-remount-fs.service" ];
        before = [ "shutdown.target" ];
        conflicts = [ "shutdown.target" ];
        unitConfig = {
          DefaultDependencies = false;
          IgnoreOnIsolate = true;
          RequiresMountsFor = [ ];
        };
      };

      ${booted} = {
        description = "Tell the boot server that this disk was booted";
        documentation = [ "https://every.channel" ];
        wantedBy = [ "multi-user.target" ];
        after = [ "network.target" ];
        before = [
          "every-channel-follow.service"
          "every-channel-report.service"
        ];
        restartIfChanged = false;
        unitConfig = {
          ConditionPathExists = "/var/lib/${state}/credential";
          # Booted over the network, the machine has been told by its kernel's command line.
          ConditionKernelCommandLine = "!every_channel.report";
        };
        path = [
          config.systemd.package
          pkgs.coreutils
          pkgs.curl
        ];
        environment = {
          NODE_SCRIPTS = "${./node}";
          DISK_RUNNING = "/run/booted-system";
          REPORTING = toString (
            lib.optional config.services.every-channel.report.enable "every-channel-report.service"
            ++ [ "every-channel-follow.service" ]
          );
        };

        serviceConfig = sandbox // {
          # What the installation has left says the same, and would say it at the next boot too.
          ExecStartPre = "+${pkgs.coreutils}/bin/rm -f /var/lib/every-channel/report/first-boot";
          ExecStart = "${diskBoot}";
          Restart = "on-failure";
          RestartSec = 30;
          TimeoutStopSec = 10;
          Nice = 10;

          Group = lib.mkIf (reporter != "") reporter;
          RuntimeDirectory = "every-channel/disk-boot";
          RuntimeDirectoryMode = "0750";
          RuntimeDirectoryPreserve = true;
          StateDirectory = state;
          StateDirectoryMode = "0700";
          PrivateDevices = true;
          PrivateMounts = true;
          # The system's clock and cards.
          ProcSubset = "all";
          SocketBindDeny = "any";
          MemoryMax = "64M";
          TasksMax = 32;
        };
      };
    };
  };
}
