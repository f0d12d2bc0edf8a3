# The runner with its overlay root, in both kinds of stage 1: what is written to the root is gone after a reboot, what
# persists is not, and the flake's source is there to build the system from again.
{ module }:
{ lib, ... }:
let
  runner = stage1: {
    imports = [ module ];

    virtualisation = {
      cores = 2;
      memorySize = 1024;
      diskSize = 2048;
    };

    boot = {
      initrd.systemd.enable = stage1 == "systemd";
      # QEMU loads the kernel.
      loader.grub.enable = false;
    };

    services.every-channel.runner = {
      enable = true;
      overlayRoot.enable = true;
    };
  };
in
{
  name = "every-channel-runner";
  meta.timeout = 1800;

  nodes = lib.genAttrs [ "scripted" "systemd" ] runner;

  testScript = ''
    kept = ["/nix/var/vm-test", "/var/lib/every-channel/vm-test", "/boot/vm-test"]
    lost = ["/vm-test", "/etc/vm-test", "/home/vm-test", "/var/lib/vm-test", "/var/tmp/vm-test"]


    def mounted(machine, where: str, column: str) -> str:
        return machine.succeed(f"findmnt --noheadings --first-only --output {column} {where}").strip()


    for machine in (scripted, systemd):
        with subtest(f"{machine.name}: the root is an overlay above a root that is read-only"):
            machine.start()
            machine.wait_for_unit("multi-user.target")
            assert mounted(machine, "/", "FSTYPE") == "overlay"
            assert mounted(machine, "/run/every-channel/root", "FSTYPE") == "ext4"
            assert "ro" in mounted(machine, "/run/every-channel/root", "VFS-OPTIONS").split(",")
            machine.fail("touch /run/every-channel/root/vm-test")

        with subtest(f"{machine.name}: nothing remounts or grows what is meant to stay below"):
            for unit in ("systemd-remount-fs", "systemd-growfs-root"):
                assert machine.get_unit_property(f"{unit}.service", "ActiveState") == "inactive"

        with subtest(f"{machine.name}: writes work, and those to the root reach no disk"):
            for path in kept + lost:
                machine.succeed(f"mkdir --parents $(dirname {path}) && echo written > {path}")
            written = machine.succeed("find /run/every-channel/overlay/upper -type f").split()
            for path in lost:
                machine.fail(f"test -e /run/every-channel/root{path}")
                assert f"/run/every-channel/overlay/upper{path}" in written, written
            for path in kept:
                assert f"/run/every-channel/overlay/upper{path}" not in written, written

        with subtest(f"{machine.name}: df says how much memory that takes"):
            assert mounted(machine, "/run/every-channel/overlay", "FSTYPE") == "tmpfs"
            machine.succeed("df --human-readable /")

        with subtest(f"{machine.name}: after a reboot they are gone, and what persists is there"):
            identity = machine.succeed("cat /etc/machine-id")
            machine.shutdown()
            machine.start()
            machine.wait_for_unit("multi-user.target")
            for path in lost:
                machine.fail(f"test -e {path}")
            for path in kept:
                machine.succeed(f"grep --quiet written {path}")
            assert machine.succeed("cat /etc/machine-id") == identity

        with subtest(f"{machine.name}: the disk was left clean"):
            machine.fail("dmesg | grep --ignore-case 'ext4-fs.*recover'")

        with subtest(f"{machine.name}: no unit has failed on the way"):
            failed = machine.succeed("systemctl --failed --no-legend --plain").strip()
            assert failed == "", failed

        with subtest(f"{machine.name}: the flake's source is there, and cannot be changed"):
            machine.succeed("test -s /etc/every-channel/flake/flake.nix")
            machine.fail("touch /etc/every-channel/flake/vm-test")

        with subtest(f"{machine.name}: the journal is in memory"):
            machine.succeed("test -d /run/log/journal")
            machine.fail("test -e /var/log/journal")

        machine.shutdown()
  '';
}
