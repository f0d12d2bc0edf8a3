"""Stages of a machine's boot are recognised in three logs, and what the probe did before is none."""

from __future__ import annotations

import pytest

from ectools.demo.netboot.boot_stages import (
    NetbootStage,
    recognise_boot_record,
    recognise_console_line,
    recognise_router_line,
)
from ectools.demo.netboot.lab import CLIENT_IP
from ectools.demo.netboot.machine import MACHINE_MAC

NODE = "192.168.77.145"


@pytest.mark.parametrize(
    ("line", "stage"),
    [
        (f"dnsmasq-dhcp[7]: 1234 DHCPDISCOVER(lan0) {MACHINE_MAC}", NetbootStage.DISCOVER),
        (f"dnsmasq-dhcp[7]: 1234 DHCPDISCOVER(lan0) {NODE} {MACHINE_MAC}", NetbootStage.DISCOVER),
        (f"dnsmasq-dhcp[7]: 1234 DHCPACK(lan0) {NODE} {MACHINE_MAC}", NetbootStage.LEASE),
        (f"dnsmasq-dhcp[7]: 1234 DHCPOFFER(lan0) {NODE} {MACHINE_MAC}", None),
        ("dnsmasq-dhcp[7]: 1234 DHCPDISCOVER(lan0) 52:54:00:00:00:01", None),
        ("dnsmasq-dhcp[7]: 1234 vendor class: PXEClient:Arch:00007", None),
    ],
)
def test_a_line_of_the_router(line: str, stage: NetbootStage | None) -> None:
    assert recognise_router_line(line) is stage


def request(path: str, **more: object) -> dict[str, object]:
    return {"event": "request", "method": "GET", "status": 200, "peer": NODE, "path": path, **more}


@pytest.mark.parametrize(
    ("record", "stage"),
    [
        (
            {"event": "TFTP has sent a file", "client": NODE, "file": "ec-ipxe.efi"},
            NetbootStage.FIRST_STAGE,
        ),
        ({"event": "TFTP has sent a file", "client": CLIENT_IP, "file": "ec-ipxe.efi"}, None),
        ({"event": "TFTP has sent a file", "client": NODE, "file": "autoexec.ipxe"}, None),
        (request("/netboot.ipxe"), NetbootStage.SCRIPT),
        (request("/releases/sha256-00/kernel"), NetbootStage.KERNEL),
        (request("/releases/sha256-00/initrd"), NetbootStage.INITRD),
        (request("/releases/sha256-00/initrd", aborted="the client went away"), None),
        (request("/releases/sha256-00/kernel", peer=CLIENT_IP), None),
        (request("/releases/sha256-00/kernel", status=404), None),
        (request("/releases/sha256-00/kernel", method="HEAD"), None),
        (request("/other"), None),
        ({"event": "the boot server is ready"}, None),
        ({"event": "a node has reported", "client": NODE, "state": "healthy"}, NetbootStage.REPORTED),
        ({"event": "a node has reported", "client": NODE, "state": "unhealthy"}, None),
    ],
)
def test_a_record_of_the_boot_host(record: dict[str, object], stage: NetbootStage | None) -> None:
    assert recognise_boot_record(record) is stage


@pytest.mark.parametrize(
    ("line", "stage"),
    [
        ("[    0.000000] Linux version 6.1.0-37-cloud-amd64", NetbootStage.LINUX),
        ("EC-GUEST-UP 0123 eth0=192.168.77.145", NetbootStage.UP),
        ("EC-GUEST-UP 9999 eth0=192.168.77.145", None),
        ("BdsDxe: starting Boot0001", None),
    ],
)
def test_a_line_on_the_console(line: str, stage: NetbootStage | None) -> None:
    assert recognise_console_line(line, mark="EC-GUEST-UP 0123") is stage
