"""What the machine lacks is said at once, all of it, with what to install."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from ectools.demo.netboot import machine as machine_module
from ectools.demo.netboot import needs as needs_module
from ectools.demo.netboot.lab import Plug
from ectools.demo.netboot.machine import Ovmf, build_machine_argv, find_ovmf
from ectools.demo.netboot.needs import MissingNeedsError, find_needs

OVMF = Ovmf(code=Path("/x/code.fd"), variables=Path("/x/vars.fd"))


class Host:
    """A machine's programs, firmware and device."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.programs = {"qemu-system-x86_64", "dnsmasq", "ip", "nsenter"}
        self.ovmf: Ovmf | None = OVMF
        self.tun = tmp_path / "tun"
        self.tun.touch()
        monkeypatch.setenv("PATH", "/home/me/bin")
        monkeypatch.setattr(shutil, "which", self._which)
        monkeypatch.setattr(needs_module, "find_ovmf", self._find_ovmf)
        monkeypatch.setattr(needs_module, "_TUN", str(self.tun))

    def _find_ovmf(self, places: list[tuple[str, str]] | None) -> Ovmf | None:
        return self.ovmf if places is None else find_ovmf(places)

    def _which(self, name: str, **_more: Any) -> str | None:
        return f"/usr/sbin/{name}" if name in self.programs else None


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Host:
    return Host(monkeypatch, tmp_path)


def test_what_is_there_is_found(machine: Host) -> None:
    needs = find_needs()
    assert (needs.dnsmasq, needs.ovmf) == ("/usr/sbin/dnsmasq", OVMF)
    # For the programs that look for it themselves.
    assert os.environ["PATH"] == "/home/me/bin:/usr/sbin:/sbin"


def test_ovmf_of_a_directory(machine: Host, tmp_path: Path) -> None:
    with pytest.raises(MissingNeedsError, match="OVMF"):
        find_needs(tmp_path)
    for name in ("OVMF_CODE.fd", "OVMF_VARS.fd"):
        (tmp_path / name).touch()
    assert find_needs(tmp_path).ovmf.code == tmp_path / "OVMF_CODE.fd"


def test_all_that_is_missing_is_told_at_once(machine: Host) -> None:
    machine.programs = {"ip", "nsenter"}
    machine.ovmf = None
    machine.tun.unlink()
    with pytest.raises(MissingNeedsError) as caught:
        find_needs()
    lines = caught.value.message.splitlines()
    assert lines[:4] == [
        "the demo cannot run here:",
        "  qemu-system-x86_64: not installed (Debian: qemu-system-x86)",
        "  dnsmasq: not installed (Debian: dnsmasq-base)",
        "  OVMF, UEFI firmware for QEMU: not installed (Debian: ovmf)",
    ]
    assert lines[4].startswith(f"  {machine.tun}: cannot be opened: No such file or directory")
    assert caught.value.hint == (
        "sudo apt-get install --no-install-recommends qemu-system-x86 dnsmasq-base ovmf"
    )


def test_a_device_alone_needs_no_package(machine: Host) -> None:
    machine.tun.unlink()
    with pytest.raises(MissingNeedsError, match="cannot be opened") as caught:
        find_needs()
    assert caught.value.hint is None


def test_ovmf_is_found_where_both_of_its_files_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    places = [(str(tmp_path / f"{name}-code"), str(tmp_path / f"{name}-vars")) for name in ("a", "b")]
    monkeypatch.setattr(machine_module, "_PLACES", places)
    assert find_ovmf() is None
    for name in ("a-code", "b-code", "b-vars"):
        (tmp_path / name).touch()
    assert find_ovmf() == Ovmf(code=tmp_path / "b-code", variables=tmp_path / "b-vars")


def test_a_machine_writes_to_its_own_copy_of_the_variables(tmp_path: Path) -> None:
    variables = tmp_path / "vars.fd"
    variables.write_bytes(b"variables")
    (tmp_path / "m").mkdir()
    ovmf = Ovmf(code=Path("/x/code.fd"), variables=variables)
    argv = build_machine_argv(Plug(netdev="tap,ifname=tap1", wrapper=("enter",)), ovmf, tmp_path / "m")
    assert argv[:2] == ["enter", "qemu-system-x86_64"]
    assert "tap,ifname=tap1,id=net" in argv
    copy = tmp_path / "m/ovmf-variables.fd"
    assert f"if=pflash,format=raw,file={copy}" in argv
    assert copy.read_bytes() == b"variables"
    assert f"if=pflash,format=raw,file={variables}" not in argv
