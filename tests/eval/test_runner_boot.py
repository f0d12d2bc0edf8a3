"""The overlay root from a real initrd: systemd in stage 1, its switch to the root, and a reboot, in QEMU."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.initrd import build_initrd
from support.machine_image import find_image
from support.machine_qemu import boot_qemu
from support.machine_store import Store
from support.systems import Systems

pytestmark = [pytest.mark.nix, pytest.mark.qemu]

SERVICE = "every-channel-overlay-root.service"
DROPIN = r"run-every\x2dchannel-root.mount"
RUNNER = {
    "services": {"every-channel": {"runner": {"enable": True, "overlayRoot": {"enable": True}}}},
    "boot": {"initrd": {"systemd": {"enable": True}}},
}
CMDLINE = (
    "root=/dev/nvme0n1 rootfstype=ext4 rw init=/usr/lib/systemd/systemd console=ttyS0 "
    "systemd.unit=multi-user.target mitigations=off net.ifnames=0 systemd.firstboot=off"
)


def test_a_reboot_leaves_what_persists_and_the_disk_clean(systems: Systems, tmp_path: Path) -> None:
    image = find_image()
    unit = (systems.build("overlayRoot.unit", RUNNER) / SERVICE).read_text()
    (script,) = set(re.findall(r"/nix/store/[0-9a-z]{32}-[^/\s]+-start", unit))
    required = {
        f"etc/systemd/system/{target}.requires/{SERVICE}": f"../{SERVICE}"
        for target in ("initrd-root-fs.target", "initrd-fs.target")
    }
    initrd = build_initrd(
        tmp_path,
        image.tree,
        files={
            f"etc/systemd/system/{SERVICE}": unit,
            # /run stays through the switch of the root, and so do the units of the system's own in it.
            "etc/stage2/overrides.conf": systems.evaluate("overlayRoot.realMount", RUNNER),
            "etc/tmpfiles.d/stage2.conf": "d /run/systemd/system\n"
            f"C /run/systemd/system/{DROPIN}.d - - - - /etc/stage2\n".replace("\\", "\\\\"),
        },
        copies={script.lstrip("/"): Path(script)},
        links=required,
    )
    nothing = tmp_path / "nothing"
    nothing.write_bytes(bytes(1 << 20))
    devices = ["-initrd", str(initrd), "-append", CMDLINE]
    with boot_qemu(tmp_path, image, Store(tmp_path, nothing), devices=devices) as machine:
        machine.run("test", "-s", f"/run/systemd/system/{DROPIN}.d/overrides.conf")
        assert machine.run("stat", "--file-system", "--format=%T", "/").strip() == "overlayfs"
        for path in ("/gone", "/etc/gone", "/nix/kept", "/var/lib/every-channel/kept"):
            machine.write(path, "1\n")
        assert "Read-only" in machine.shell("touch /run/every-channel/root/gone 2>&1 || true")
        identity = machine.run("cat", "/etc/machine-id")

        machine.reboot()
        for path in ("/gone", "/etc/gone"):
            machine.run("test", "!", "-e", path)
        for path in ("/nix/kept", "/var/lib/every-channel/kept"):
            machine.run("test", "-s", path)
        assert machine.run("cat", "/etc/machine-id") == identity
        # What the kernel says of an ext4 without a journal that was in use when the machine went down.
        assert "unchecked fs" not in machine.read_console()
        assert machine.read_console().count("EXT4-fs (nvme0n1): mounted filesystem") == 2
