# Installs the machine that it runs on, where the boot server says so that it came from (ECP-0109). Whoever boots this
# otherwise, or without that server's one-time token, finds a unit that does nothing.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.every-channel.install;
  path = "services.every-channel.install";
  unit = "every-channel-install";

  inherit (lib) mkOption types;

  script = pkgs.writeShellScript unit (builtins.readFile ./ec-install.sh);

  # As nix/hosts/disk.nix looks for them: systemd-repart names a file system as its partition.
  definitions = pkgs.linkFarm "${unit}-partitions" {
    "10-esp.conf" = pkgs.writeText "10-esp.conf" ''
      [Partition]
      Type=esp
      Label=EC-BOOT
      Format=vfat
      SizeMinBytes=${toString cfg.espMiB}M
      SizeMaxBytes=${toString cfg.espMiB}M
    '';
    "20-root.conf" = pkgs.writeText "20-root.conf" ''
      [Partition]
      Type=linux-generic
      Label=ec-root
      Format=ext4
    '';
  };
in
{
  options.services.every-channel.install = {
    enable = lib.mkEnableOption ''
      installation by order of the boot server: a machine that was booted with `every_channel.install=` writes the system
      that its boot server names to its disk, and boots again. What it writes is signed by a key of this system's
      {option}`nix.settings.trusted-public-keys`'';

    espMiB = mkOption {
      type = types.ints.between 64 65536;
      default = 512;
      example = 1024;
      description = ''
        Size of the partition that the machine's firmware boots from, which has the kernels of all systems in the boot
        menu. The rest of the disk is the root file system. A partition that an earlier installation has made stays as large
        as it is.
      '';
    };
  };

  config = lib.mkIf cfg.enable {
    assertions = [
      {
        assertion = config.nix.enable;
        message = "${path}.enable needs nix.enable: what is installed is copied by Nix";
      }
    ];

    systemd.services.${unit} = {
      description = "Installation by order of the boot server";
      documentation = [ "https://every.channel" ];
      wantedBy = [ "multi-user.target" ];
      after = [
        "network.target"
        "nix-daemon.socket"
      ];
      unitConfig = {
        ConditionKernelCommandLine = "every_channel.install";
        StartLimitIntervalSec = 0;
      };
      restartIfChanged = false;

      path = [
        config.nix.package
        config.system.build.nixos-enter or pkgs.nixos-enter
        config.systemd.package
        pkgs.coreutils
        pkgs.curl
        pkgs.dosfstools
        pkgs.e2fsprogs
        pkgs.openssh
        pkgs.util-linux
      ];
      environment = {
        NODE_SCRIPTS = "${./node}";
        INSTALL_DEFINITIONS = "${definitions}";
        INSTALL_OF_DISKS = "${./install-disk.sh}";
        INSTALL_OF_WRITING = "${./install-write.sh}";
      };

      serviceConfig = {
        Type = "oneshot";
        # A disk that is not there yet would be none. As a unit of its own it would be waited for on each boot, whether or
        # not this one's condition holds.
        ExecStartPre = "-${config.systemd.package}/bin/udevadm settle";
        ExecStart = "${script} /proc/cmdline";
        ExecStartPost = "${config.systemd.package}/bin/systemctl reboot --no-block";
        TimeoutStartSec = "infinity";
        Restart = "on-failure";
        RestartSec = 15;
        # Whatever is tried, it would be the same.
        RestartPreventExitStatus = 2;
        StandardOutput = "journal+console";

        RuntimeDirectory = unit;
        RuntimeDirectoryMode = "0700";
        RuntimeDirectoryPreserve = "restart";
        PrivateMounts = true;
        KeyringMode = "private";
        LockPersonality = true;
        RestrictRealtime = true;
      };
    };
  };
}
