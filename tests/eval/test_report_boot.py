"""Reports of a machine with a kernel of its own: from its stage 1, and from the unit as it is in stage 2.

The boot server is here, at the address by which a guest of QEMU's user-mode network reaches this machine.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from support.guests import require_qemu
from support.initrd import build_initrd
from support.machine import MachineError
from support.machine_image import find_image
from support.machine_qemu import boot_qemu
from support.machine_store import Store, build_store
from support.needs import require_tool
from support.reports_taken import TOKEN, Recorder, record_reports
from support.systems import Systems

pytestmark = [pytest.mark.nix, pytest.mark.qemu]

UNIT = "every-channel-report.service"
RUNNING = "every-channel-report-running.service"
COMMON = "console=ttyS0 systemd.unit=multi-user.target mitigations=off net.ifnames=0 systemd.firstboot=off"
CARD = """\
[Service]
Type=oneshot
ExecStart=ip link set eth0 up
ExecStart=ip address add 10.0.2.15/24 dev eth0
"""
NETWORK = ("-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile=")


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with record_reports() as made:
        yield made


def configure(**options: object) -> dict[str, object]:
    report = {"enable": True, "holdSeconds": 1, **options}
    return {
        "services": {"every-channel": {"report": report}},
        "boot": {"initrd": {"systemd": {"enable": True}}},
    }


def test_stage_2_reports_with_systemds_own_figures(
    systems: Systems, recorder: Recorder, nix_env: Mapping[str, str], tmp_path: Path
) -> None:
    """The unit with all of its sandbox; that of a container's test has less."""
    require_qemu()
    image = find_image()
    unit = systems.build("reportUnit", configure())
    store = build_store(tmp_path, [unit], nix_env)
    command_line = f"root=/dev/nvme0n1 rw init=/sbin/machine-init {COMMON} {recorder.arguments}"
    with boot_qemu(tmp_path, image, store, devices=[*NETWORK, "-append", command_line]) as machine:
        machine.write("/etc/sysusers.d/report.conf", "u every-channel-report -\n")
        machine.write("/etc/systemd/system/fails.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n")
        machine.write("/etc/systemd/system/card.service", CARD)
        machine.shell(
            "systemd-sysusers && cd /etc/systemd/system && ln -s $1/$2 $2 && "
            "ln -s ../$2 ../fails.service ../card.service multi-user.target.wants/",
            str(unit),
            UNIT,
        )
        # With a failed unit, the machine is not what this takes for a good boot.
        with contextlib.suppress(MachineError):
            machine.reboot()
        machine.wait(
            lambda: [each for each in recorder.reports if each["stage"] == ["up"]], "a report", unit=UNIT
        )
        report = recorder.reports[-1]
        assert (report["healthy"], report["failed"]) == (["no"], ["fails.service"])
        assert report["release"] == ["boot-v2026.11.29"]
        assert 0 < float(report["seconds.kernel"][0]) < 600
        assert 0 < float(report["seconds.userspace"][0]) < 600
        (journal,) = report["journal"]
        assert "fails.service: Main process exited, code=exited, status=1/FAILURE" in journal
        # The kernel has logged its command line.
        assert TOKEN not in journal

        machine.run("systemctl", "reset-failed", "fails.service")
        machine.wait(lambda: recorder.reports[-1]["healthy"] == ["yes"], "a healthy one", unit=UNIT)


def test_stage_1_says_that_the_kernel_runs_and_leaves_the_card_as_it_was(
    systems: Systems, recorder: Recorder, tmp_path: Path
) -> None:
    require_qemu()
    image = find_image()
    busybox = Path(require_tool("busybox", "install busybox-static"))
    text = (systems.build("reportInitrd.unit", configure(initrd={"enable": True})) / RUNNING).read_text()
    (program,) = re.findall(r"BUSYBOX=(/nix/store/[^\s\"]+)", text)
    scripts = set(re.findall(r"/nix/store/[0-9a-z]{32}-every-channel-report-(?:running|leave)", text))
    # Stage 1 goes on once the boot server knows: else it would be over before.
    hangs = (
        "[Unit]\nDefaultDependencies=no\nBefore=initrd.target\n"
        "[Service]\nType=oneshot\n"
        "ExecStart=/bin/sh -c 'until [ -e /run/every-channel/running ]; do udevadm settle; done'\n"
    )
    initrd = build_initrd(
        tmp_path,
        image.tree,
        files={
            f"etc/systemd/system/{RUNNING}": text,
            "etc/systemd/system/hangs.service": hangs,
        },
        copies={
            program.lstrip("/"): busybox,
            **{script.lstrip("/"): Path(script) for script in scripts},
        },
        links={
            f"etc/systemd/system/initrd.target.wants/{RUNNING}": f"../{RUNNING}",
            "etc/systemd/system/initrd.target.requires/hangs.service": "../hangs.service",
        },
        modules=[
            "kernel/drivers/net/virtio_net.ko",
            "kernel/drivers/net/net_failover.ko",
            "kernel/net/core/failover.ko",
        ],
    )
    nothing = tmp_path / "nothing"
    nothing.write_bytes(bytes(1 << 20))
    command_line = (
        f"root=/dev/nvme0n1 rootfstype=ext4 rw init=/usr/lib/systemd/systemd {COMMON} {recorder.arguments}"
    )
    devices = [*NETWORK, "-initrd", str(initrd), "-append", command_line]
    with boot_qemu(tmp_path, image, Store(tmp_path, nothing), devices=devices) as machine:
        assert recorder.reports == [{"stage": ["running"]}]
        machine.run("test", "-e", "/run/every-channel/running")
        (interface,) = machine.run("cat", "/run/every-channel/report-interfaces").split()
        assert interface == "eth0"
        # The machine's own network came after it.
        assert "10.0.2." not in machine.run("ip", "address")
        assert "10.0.2." not in machine.run("ip", "route")
        assert machine.run("pgrep", "udhcpc", check=False) == ""
        assert machine.run("systemctl", "list-units", "--failed", "--plain", "--no-legend") == ""
