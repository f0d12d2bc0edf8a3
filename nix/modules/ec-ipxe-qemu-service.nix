# The units of ec-ipxe-qemu.nix: the guest's runner, the link of its LAN, and what keeps it from this host's loopback.
#
# The link's unit has the rights that this takes, so that the guest's own unit has none over the host's network. The
# nftables rules of the loopback's unit belong to its process, which no other program's `flush ruleset` touches, and go
# with it.
{
  cfg,
  lib,
  pkgs,
  unit,
  ectools,
  runner,
  checkedSettings,
  # Unit file of each of ours, by its name.
  unitFiles,
}:
let
  inherit (import ./systemd.nix { inherit lib; }) plain quoted;

  filter = "${unit}-loopback";
  link = "${unit}-lan";

  writableDirectories = lib.unique [
    cfg.stateDir
    (dirOf cfg.disk.path)
    cfg.boot.userNet.tftpDir
  ];

  # What ectools/service/ipxe-qemu.toml asks for; ectools/service/facts.py has the same of other systems.
  facts = {
    inherit ectools runner;
    config = "${checkedSettings}";

    stateDir = plain cfg.stateDir;
    mounts = map quoted (
      writableDirectories
      ++ lib.optional (cfg.boot.http.enable && cfg.boot.http.root != null) cfg.boot.http.root
    );
    writableDirectories = map (directory: quoted "-${directory}") writableDirectories;
    chainToken = lib.optional (
      cfg.boot.chainTokenFile != null
    ) "chain-token:${plain cfg.boot.chainTokenFile}";

    kvm = cfg.enableKvm;
    lan = cfg.lan.enable;
    filtered = cfg.boot.userNet.hostLoopback == "boot-server";
    privilegedPort = cfg.boot.http.enable && cfg.boot.http.port < 1024;
    stopSeconds =
      cfg.shutdown.powerdownSeconds + cfg.shutdown.quitSeconds + cfg.shutdown.terminateSeconds + 20;
    # A bound, not a reservation: QEMU's translation cache under TCG has up to 1024 MiB; the rest is for QEMU
    # itself, the runner and the boot HTTP server. Pages of the disk count too, and are given back.
    memory = cfg.memoryMiB + 32 * cfg.vcpus + 1536;
    # QEMU's virtual CPUs, and its workers (64 for its disks) and those of the boot HTTP server.
    tasks = cfg.vcpus + 256;
  };

  # The three together: the guest runs beside the link and the filter that it was started with.
  units = lib.mapAttrs (_: service: service // { inherit (cfg) restartIfChanged; }) (
    (import ./units.nix { inherit lib; }).services "ipxe-qemu" facts
  );
  guest = units.${unit};
in
units
// {
  ${unit} = guest // {
    # Where the filter or the link is to be made anew, no guest runs meanwhile.
    restartTriggers =
      lib.optional facts.filtered unitFiles."${filter}.service".unit
      ++ lib.optional facts.lan unitFiles."${link}.service".unit;
    serviceConfig = guest.serviceConfig // {
      MemoryMax = lib.mkDefault guest.serviceConfig.MemoryMax;
      TasksMax = lib.mkDefault guest.serviceConfig.TasksMax;
    };
  };
}
// lib.optionalAttrs facts.filtered {
  ${filter} = units.${filter} // {
    path = [ pkgs.nftables ];
  };
}
