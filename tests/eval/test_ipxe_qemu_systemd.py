"""The built unit, as it is, on a real systemd: confined, with a credential, restarted, asked to stop."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.container import Container, boot_container, find_packages, set_up_service
from support.guests import BOOT_SECONDS, require_qemu, stage

pytestmark = [pytest.mark.nix, pytest.mark.qemu, pytest.mark.slow]

UNIT = "every-channel-ipxe-qemu"
STATE = "/var/lib/every-channel/ipxe-qemu"
TOKEN = "a/secret=token:7"
PYTHON = Path("/usr/bin/python3")


@dataclass(frozen=True)
class Service:
    """The unit in its container."""

    container: Container

    def journal(self) -> list[dict[str, Any]]:
        """What the runner has logged, from its first start."""
        text = self.container.run("journalctl", "-u", UNIT, "-o", "cat", "--no-pager")
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def wait(self, holds: Callable[[], Any], what: str) -> Any:
        deadline = time.monotonic() + BOOT_SECONDS
        while time.monotonic() < deadline:
            if found := holds():
                return found
            time.sleep(0.3)
        raise AssertionError(
            f"no {what}:\n{self.container.run('journalctl', '-u', UNIT, '--no-pager')[-6000:]}"
        )

    def wait_up(self, times: int) -> None:
        """Until guests have said for the n-th time that they are up."""
        self.wait(
            lambda: sum("EC-GUEST-UP real" in str(entry.get("line")) for entry in self.journal()) >= times,
            f"guest that is up for time {times}",
        )

    def qemu(self) -> int:
        """QEMU's process in the unit's control group, by its number inside."""
        processes = self.container.run("pgrep", "-f", "^[^ ]*/qemu-system-x86_64 ", check=False).split()
        return int(processes[0]) if processes else 0


@pytest.fixture(scope="module")
def service(
    build_host: Callable[..., Path],
    evaluate_host: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Service]:
    """A booted container in which the host's users, folders and unit are, and the unit was started."""
    require_qemu()
    packages = find_packages()
    folder = tmp_path_factory.mktemp("systemd")
    root = stage(folder / "root", cmdline="ec.mark=real")
    root.chmod(0o755)
    options: dict[str, Any] = {
        "memoryMiB": 256,
        "vcpus": 1,
        "disk": {"size": "64M"},
        "boot": {
            "http": {"root": "/srv/netboot"},
            "userNet": {"model": "virtio-net-pci"},
            "chainUrl": "http://10.0.2.2:8080/netboot.ipxe",
            "chainTokenFile": "/etc/chain-token",
        },
    }
    unit = build_host("unit", options) / f"{UNIT}.service"
    places = {Path("/nix/store"): "/nix/store", root: "/srv/netboot", **packages}
    places[unit] = f"/etc/systemd/system/{UNIT}.service"
    with boot_container(folder, read_only=places) as container:
        container.run("groupadd", "--force", "kvm")
        container.run("sh", "-c", "umask 077; cat >/etc/chain-token", stdin=f"{TOKEN}\n")
        set_up_service(container, UNIT, evaluate_host("tmpfiles", options))
        container.run("systemctl", "start", "--no-block", UNIT)
        yield Service(container)


def test_the_guest_comes_up_and_qemu_has_no_rights(service: Service) -> None:
    service.wait_up(1)
    shown = service.container.show(UNIT, "ActiveState", "StatusText", "NRestarts", "User")
    assert (shown["ActiveState"], shown["NRestarts"], shown["User"]) == ("active", "0", UNIT)
    assert shown["StatusText"].startswith("the guest runs")
    status = service.container.run("cat", f"/proc/{service.qemu()}/status")
    fields = {line.split(":", 1)[0]: line.split(":", 1)[1].split() for line in status.splitlines()}
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(fields[name][0], 16) == 0
    assert fields["NoNewPrivs"] == ["1"]
    assert fields["Seccomp"] == ["2"]
    assert fields["Uid"][0] == service.container.run("id", "-u", UNIT).strip()


def test_the_state_is_the_services_own(service: Service) -> None:
    for path, mode in (("", "750"), ("/tftp", "750"), ("/disk.qcow2", "600"), ("/tftp/undionly.kpxe", "600")):
        shown = service.container.run("stat", "-c", "%a %U %G", STATE + path).split()
        assert shown == [mode, UNIT, UNIT], path


def test_the_token_reaches_the_boot_file_and_nothing_else(service: Service) -> None:
    encoded = "a%2Fsecret%3Dtoken%3A7"
    assert f"?token={encoded}" in service.container.run("cat", f"{STATE}/tftp/undionly.kpxe")
    said = service.container.run("journalctl", "--no-pager", "-o", "cat")
    said += service.container.run("sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '", check=False)
    assert TOKEN not in said
    assert encoded not in said


def test_the_sandbox_holds(service: Service) -> None:
    inside = ["nsenter", "--target", str(service.qemu()), "--mount", "--"]
    for path in ("/etc/x", "/usr/x", "/srv/netboot/x"):
        refusal = service.container.run(*inside, "sh", "-c", f"touch {path} 2>&1 || true")
        assert "Read-only file system" in refusal
    service.container.run(*inside, "touch", f"{STATE}/x")
    assert service.container.run(*inside, "ls", "-A", "/root").split() == []


def test_a_killed_qemu_is_told_of_and_started_again(service: Service) -> None:
    service.container.run("kill", "-KILL", str(service.qemu()))
    service.wait_up(2)
    shown = service.container.show(UNIT, "ActiveState", "NRestarts")
    assert shown == {"ActiveState": "active", "NRestarts": "1"}
    text = service.container.run("journalctl", "-u", UNIT, "-o", "cat", "--no-pager")
    assert "QEMU ended: killed by SIGKILL" in text


def test_stopping_asks_the_guest(service: Service) -> None:
    service.container.run("systemctl", "stop", UNIT)
    shown = service.container.show(UNIT, "ActiveState", "Result")
    assert shown == {"ActiveState": "inactive", "Result": "success"}
    assert any("reboot: Power down" in str(entry.get("line")) for entry in service.journal())
    assert service.qemu() == 0
