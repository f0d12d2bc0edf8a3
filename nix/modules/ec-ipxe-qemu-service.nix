# The unit of ec-ipxe-qemu.nix: how the runner is started, stopped and confined.
{
  cfg,
  lib,
  unit,
  runner,
  checkedSettings,
  isFiltered,
  filterUnit,
  lanUnit,
}:
let
  inherit (import ./systemd.nix { inherit lib; }) plain quoted sandbox;

  capabilities = lib.optional (
    cfg.boot.http.enable && cfg.boot.http.port < 1024
  ) "CAP_NET_BIND_SERVICE";

  writableDirectories = lib.unique [
    cfg.stateDir
    (dirOf cfg.disk.path)
    cfg.boot.userNet.tftpDir
  ];

  stopSeconds =
    cfg.shutdown.powerdownSeconds + cfg.shutdown.quitSeconds + cfg.shutdown.terminateSeconds;
in
{
  description = "every.channel guest that boots over iPXE";
  documentation = [ "https://every.channel" ];
  after = [
    "local-fs.target"
    "network-online.target"
  ]
  # Its devices can be allowed only once the kernel knows macvtap.
  ++ lib.optional cfg.lan.enable "systemd-modules-load.service";
  wants = [ "network-online.target" ];
  wantedBy = [ "multi-user.target" ];
  # Where the filter or the link is to be made anew, no guest runs meanwhile.
  restartTriggers = lib.optional isFiltered filterUnit ++ lib.optional cfg.lan.enable lanUnit;
  unitConfig.RequiresMountsFor = map quoted (
    writableDirectories
    ++ lib.optional (cfg.boot.http.enable && cfg.boot.http.root != null) cfg.boot.http.root
  );

  serviceConfig = sandbox // {
    Type = "notify";
    NotifyAccess = "main";
    ExecStart =
      "${runner} --config ${checkedSettings}" + lib.optionalString isFiltered " --require-loopback-filter";
    WorkingDirectory = plain cfg.stateDir;
    User = unit;
    Group = unit;
    SupplementaryGroups = lib.optional cfg.enableKvm "kvm";
    LoadCredential = lib.optional (
      cfg.boot.chainTokenFile != null
    ) "chain-token:${plain cfg.boot.chainTokenFile}";

    Restart = "always";
    RestartSec = 5;
    TimeoutStartSec = 120;
    WatchdogSec = 60;
    # The runner asks the guest; only what is left at the end is killed.
    KillMode = "mixed";
    TimeoutStopSec = stopSeconds + 20;

    AmbientCapabilities = capabilities;
    CapabilityBoundingSet = if capabilities == [ ] then "" else capabilities;
    DeviceAllow =
      lib.optional cfg.enableKvm "/dev/kvm rw" ++ lib.optional cfg.lan.enable "char-macvtap rw";
    # TCG writes the code that it runs.
    MemoryDenyWriteExecute = false;
    # "-": a directory that is missing is the runner's to report, in words.
    ReadWritePaths = map (directory: quoted "-${directory}") writableDirectories;
    # A bound, not a reservation: QEMU's translation cache under TCG has up to 1024 MiB; the rest is for QEMU
    # itself, the runner and the boot HTTP server. Pages of the disk count too, and are given back.
    MemoryMax = lib.mkDefault "${toString (cfg.memoryMiB + 32 * cfg.vcpus + 1536)}M";
    PrivateMounts = true;
    # Capabilities in a user namespace are none over the host's network.
    PrivateUsers = capabilities == [ ];
    SystemCallFilter = sandbox.SystemCallFilter ++ [
      # The filter that QEMU puts on itself; under NoNewPrivileges it can only take rights away.
      "seccomp"
    ]
    # With it the runner gives capabilities up.
    ++ lib.optional (capabilities != [ ]) "capset";
    # QEMU's virtual CPUs, and its workers (64 for its disks) and those of the boot HTTP server.
    TasksMax = lib.mkDefault (cfg.vcpus + 256);
  };
}
