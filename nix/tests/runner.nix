# The runner with its overlay root, in both kinds of stage 1, and each promise of docs/RUNNER_IMAGES.md about what is written
# where: what is gone after a reboot and what is kept, what takes memory, and what is left behind at a power-off.
{ module }:
{ hostPkgs, lib, ... }:
let
  # Far more than a system at rest writes.
  sizeMiB = 128;

  runner = stage1: {
    imports = [ module ];

    virtualisation = {
      memorySize = 1024;
      diskSize = 2048;
      emptyDiskImages = [ 64 ];
      # Grown in stage 1, and a unit of stage 2 that would do it again.
      fileSystems."/".autoResize = true;
      fileSystems."/data" = {
        device = "/dev/vdb";
        fsType = "ext4";
        autoFormat = true;
      };
    };

    boot = {
      initrd.systemd.enable = stage1 == "systemd";
      # QEMU loads the kernel.
      loader.grub.enable = false;
    };

    services.openssh.enable = true;
    services.every-channel.runner = {
      enable = true;
      configuration = "vm-test";
      overlayRoot = {
        enable = true;
        size = "${toString sizeMiB}M";
        persist = [ "/srv/kept" ];
      };
    };
  };
in
{
  name = "every-channel-runner";
  meta.timeout = 3600;

  nodes = lib.genAttrs [ "scripted" "systemd" ] runner;

  testScript = ''
    import struct
    import subprocess

    below = "/run/every-channel/root"
    upper = "/run/every-channel/overlay/upper"
    kept = [
        f"{directory}/vm-test"
        for directory in (
            "/nix/var",
            "/boot",
            "/var/lib/every-channel",
            "/var/lib/nixos",
            "/var/lib/systemd",
            "/srv/kept",
        )
    ]
    lost = [
        f"{directory}/vm-test"
        for directory in ("", "/etc", "/home", "/root", "/srv", "/tmp", "/var/lib", "/var/log", "/var/tmp")
    ]
    machines_by_name = {machine.name: machine for machine in (scripted, systemd)}
    identities: dict[str, str] = {}
    host_keys: dict[str, str] = {}


    def mounted(machine, where: str, column: str) -> str:
        return machine.succeed(f"findmnt --noheadings --first-only --output {column} {where}").strip()


    def fingerprint(machine) -> str:
        machine.wait_for_unit("sshd.service")
        keys = machine.succeed("sshd -T | grep --ignore-case '^hostkey '").split()
        assert keys[1:] == ["/var/lib/every-channel/ssh/ssh_host_ed25519_key"], keys
        return machine.succeed(f"ssh-keygen -l -f {keys[1]}")


    def check_overlay(machine) -> None:
        assert mounted(machine, "/", "FSTYPE") == "overlay"
        assert mounted(machine, below, "FSTYPE") == "ext4"
        assert "ro" in mounted(machine, below, "VFS-OPTIONS").split(",")
        machine.fail(f"touch {below}/vm-test")


    def check_no_failures(machine) -> None:
        failed = machine.succeed("systemctl --failed --no-legend --plain").strip()
        assert failed == "", failed


    def shut_down(machine) -> None:
        """Power off, and look at the file system's superblock: mounted writable, it says that its journal is needed."""
        machine.shutdown()
        image = machine.state_dir / f"{machine.name}.qcow2"
        block = machine.state_dir / "superblock"
        tool = "${hostPkgs.qemu_test}/bin/qemu-img"
        subprocess.run(
            [tool, "dd", "-f", "qcow2", "-O", "raw", "bs=1024", "skip=1", "count=2", f"if={image}", f"of={block}"],
            check=True,
        )
        # s_magic, s_state and s_feature_incompat (Documentation/filesystems/ext4/super.rst).
        magic, state = struct.unpack_from("<HH", block.read_bytes(), 0x38)
        (incompatible,) = struct.unpack_from("<I", block.read_bytes(), 0x60)
        assert magic == 0xEF53, hex(magic)
        is_valid, has_errors, needs_recovery = state & 1, state & 2, incompatible & 4
        assert (is_valid, has_errors, needs_recovery) == (1, 0, 0), (state, incompatible)


    start_all()

    for machine in machines_by_name.values():
        with subtest(f"{machine.name}: the root is an overlay above a root that is read-only"):
            machine.wait_for_unit("multi-user.target")
            check_overlay(machine)

        with subtest(f"{machine.name}: nothing remounts or grows what is meant to stay below"):
            for unit in ("systemd-remount-fs", "systemd-growfs-root"):
                found = {
                    name: machine.get_unit_property(f"{unit}.service", name)
                    for name in ("LoadState", "ConditionResult", "ActiveState")
                }
                assert found == {
                    "LoadState": "loaded",
                    "ConditionResult": "no",
                    "ActiveState": "inactive",
                }, (unit, found)

        with subtest(f"{machine.name}: writes work, and those to the root reach no disk"):
            for path in [*kept, *lost, "/data/vm-test"]:
                machine.succeed(f"mkdir --parents $(dirname {path}) && echo written > {path}")
            written = machine.succeed(f"find {upper} -type f").split()
            for path in lost:
                machine.fail(f"test -e {below}{path}")
                assert f"{upper}{path}" in written, written
            for path in kept:
                machine.succeed(f"grep --quiet written {below}{path}")
                assert f"{upper}{path}" not in written, written
            assert mounted(machine, "/data", "SOURCE") == "/dev/vdb"

        with subtest(f"{machine.name}: the machine has an identity and a host key, and they are on the disk"):
            identities[machine.name] = machine.succeed("grep --extended-regexp '^[0-9a-f]{32}$' /etc/machine-id")
            assert machine.succeed(f"cat {below}/etc/machine-id") == identities[machine.name]
            host_keys[machine.name] = fingerprint(machine)

        with subtest(f"{machine.name}: df says how much memory that takes, and more is not to be had"):
            size, used = machine.succeed("df --block-size=1M --output=size,used / | tail --lines=1").split()
            assert int(size) == ${toString sizeMiB}, size
            assert int(used) < ${toString sizeMiB} // 2, used
            error = machine.fail("dd if=/dev/zero of=/fill bs=1M count=${toString sizeMiB} 2>&1")
            assert "No space left on device" in error, error
            machine.fail("echo one more > /one-more")
            machine.succeed("rm /fill && echo one more > /one-more")

        with subtest(f"{machine.name}: a swap file on the root does not work"):
            machine.succeed("dd if=/dev/zero of=/swap bs=1M count=8 && chmod 600 /swap && mkswap /swap")
            machine.fail("swapon /swap")
            machine.succeed("rm /swap")

        with subtest(f"{machine.name}: the profile's tools and timers are there"):
            machine.succeed("ectools --version")
            assert machine.succeed("cat /etc/every-channel/configuration") == "vm-test\n"
            machine.succeed("test -s /etc/every-channel/flake/flake.nix")
            machine.fail("touch /etc/every-channel/flake/vm-test")
            machine.succeed("systemctl is-active nix-gc.timer")
            machine.succeed("systemctl cat nix-gc.timer | grep --line-regexp 'OnCalendar=weekly'")
            collection = machine.get_unit_property("nix-gc.service", "ExecStart")
            script = collection.split("path=")[1].split()[0]
            machine.succeed(f"grep --regexp='--delete-older-than 14d' {script}")

        with subtest(f"{machine.name}: the journal is in memory"):
            machine.succeed("test -d /run/log/journal")
            machine.fail("test -e /var/log/journal")

        with subtest(f"{machine.name}: no unit has failed"):
            check_no_failures(machine)

        with subtest(f"{machine.name}: a user that is added, and a change of the root below"):
            machine.succeed("useradd vm-test && id vm-test")
            machine.succeed(f"mount -o remount,bind,rw {below} && echo changed > {below}/etc/vm-changed")

        with subtest(f"{machine.name}: the disk is left clean"):
            shut_down(machine)

    start_all()

    for machine in machines_by_name.values():
        with subtest(f"{machine.name}: after a reboot the writes are gone, and what persists is there"):
            machine.wait_for_unit("multi-user.target")
            check_overlay(machine)
            for path in lost:
                machine.fail(f"test -e {path}")
            for path in [*kept, "/data/vm-test"]:
                machine.succeed(f"grep --quiet written {path}")
            machine.fail("id vm-test")
            machine.succeed("grep --quiet changed /etc/vm-changed")

        with subtest(f"{machine.name}: it is the same machine, with the same host key"):
            assert machine.succeed("cat /etc/machine-id") == identities[machine.name]
            assert fingerprint(machine) == host_keys[machine.name]

        with subtest(f"{machine.name}: no unit has failed after the reboot"):
            check_no_failures(machine)

        with subtest(f"{machine.name}: the disk is left clean again"):
            shut_down(machine)
  '';
}
