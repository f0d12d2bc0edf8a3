"""The built unit of ec-ipxe-qemu on a real systemd, with a guest that comes up and is asked to stop.

In a container: within an emulated machine, an emulated guest takes minutes. The script of the VM test, which
test_vmtest_script.py runs in the same way, has what else there is to see of a guest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.activation import build_hosts
from support.guests import require_qemu, stage
from support.hosts import merge
from support.machine import Machine
from support.machine_image import find_image
from support.machine_nspawn import boot_nspawn
from support.machine_store import build_store
from support.unit_cases import CASES

pytestmark = [pytest.mark.nix, pytest.mark.qemu]

CASE = CASES["ipxe-qemu"]
UNIT = CASE.unit
GUEST: dict[str, Any] = {"memoryMiB": 256, "shutdown": {"powerdownSeconds": 60}}


@dataclass(frozen=True)
class Service:
    """The unit in its machine."""

    machine: Machine

    def wait_up(self) -> None:
        """Until the guest has said that it is up."""

        def is_up() -> bool:
            return any("EC-GUEST-UP real" in str(entry.get("line")) for entry in self.machine.entries(UNIT))

        self.machine.wait(is_up, "a guest is up", unit=UNIT)

    def qemu(self) -> int:
        """QEMU's process, by its number inside; 0 where there is none."""
        argv = ["pgrep", "--uid", UNIT, "--full", "^[^ ]*/qemu-system-x86_64 "]
        return int(self.machine.run(*argv, check=False).strip() or 0)


@pytest.fixture(scope="module")
def service(
    nixpkgs: Path, nix_env: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A machine whose host has just gone over to having the guest."""
    require_qemu()
    directory = tmp_path_factory.mktemp("systemd")
    root = stage(directory / "root", cmdline="ec.mark=real")
    root.chmod(0o755)
    config = merge(dict(CASE.config), {"services": {"every-channel": {"ipxe-qemu": GUEST}}})
    hosts = build_hosts({"guest": config}, nixpkgs=nixpkgs, nix_env=nix_env)
    store = build_store(directory, [hosts.path], nix_env)
    with boot_nspawn(directory, find_image(), store, read_only={root: "/srv/netboot"}) as machine:
        machine.write("/etc/chain-token", CASE.files["0600 /etc/chain-token"], mode="0600")
        hosts.activate(machine, "guest")
        yield Service(machine)


def test_the_guest_comes_up_and_qemu_has_no_rights(service: Service) -> None:
    service.wait_up()
    shown = service.machine.show(UNIT, "ActiveState", "StatusText", "NRestarts", "User")
    assert (shown["ActiveState"], shown["NRestarts"], shown["User"]) == ("active", "0", UNIT)
    assert shown["StatusText"].startswith("the guest runs")
    status = service.machine.run("cat", f"/proc/{service.qemu()}/status")
    fields = {line.split(":", 1)[0]: line.split(":", 1)[1].split() for line in status.splitlines()}
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(fields[name][0], 16) == 0
    assert fields["NoNewPrivs"] == ["1"]
    assert fields["Seccomp"] == ["2"]
    assert fields["Uid"][0] == service.machine.run("id", "-u", UNIT).strip()


def test_the_token_reaches_the_boot_file(service: Service) -> None:
    boot_file = service.machine.run("cat", f"{CASE.state}/tftp/undionly.kpxe")
    assert "?token=a%2Fsecret%3Dtoken%3A7" in boot_file


def test_stopping_asks_the_guest(service: Service) -> None:
    service.machine.run("systemctl", "stop", UNIT)
    shown = service.machine.show(UNIT, "ActiveState", "Result")
    assert shown == {"ActiveState": "inactive", "Result": "success"}
    entries = service.machine.entries(UNIT)
    assert any("reboot: Power down" in str(entry.get("line")) for entry in entries)
    assert service.qemu() == 0
