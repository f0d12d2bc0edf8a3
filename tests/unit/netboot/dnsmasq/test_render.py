"""dnsmasq's configuration: golden files, what must hold of every one, and what dnsmasq says of them."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import golden
from support.needs import require_tool

from ectools.netboot.boot_files.layout import build_filenames
from ectools.netboot.dnsmasq.check import check_services, find_faults, list_boot_files
from ectools.netboot.dnsmasq.model import (
    BootServices,
    BootServicesError,
    Offer,
    build_boot_services,
)
from ectools.netboot.dnsmasq.render import render_configuration
from ectools.netboot.protocols import Binary, Transport, load_protocols
from ectools.netboot.settings.load import load_server_settings
from ectools.netboot.settings.model import ServerSettings

ALL = ("undionly.kpxe", "ec-ipxe-ia32.efi", "ec-ipxe.efi", "ec-ipxe-arm64.efi", "autoexec.ipxe")
PROXY = {"proxyDhcp.subnet": "192.0.2.0/24"}


def build(*present: str, **options: Any) -> BootServices:
    return build_boot_services(settings(**options), present=frozenset(present))


def settings(**options: Any) -> ServerSettings:
    flags = {"listenIP": "192.0.2.10", "stateDir": "/var/lib/every-channel/netboot", **options}
    return load_server_settings(None, flags=flags, environment={})


CASES: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "network-boot": (ALL, {}),
    "proxy": (ALL, PROXY),
    "proxy-x86_64": (("boot.efi", "autoexec.ipxe"), {**PROXY, "tftpBootFilename": "boot.efi"}),
    "proxy-chain": (
        ("x86_64-sb/shimx64.efi", "autoexec.ipxe"),
        {**PROXY, "tftpBootFilename": "x86_64-sb/shimx64.efi"},
    ),
    "proxy-groups": (("ec-ipxe.efi", "ec-ipxe-arm64.efi", "ec-stock-snponly.efi", "autoexec.ipxe"), PROXY),
}


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    present, options = CASES[name]
    golden.compare(f"dnsmasq/{name}.conf", render_configuration(build(*present, **options)))


@pytest.mark.parametrize("name", CASES)
def test_dnsmasq_takes_it(name: str, tmp_path: Path) -> None:
    program = require_tool("dnsmasq", "install dnsmasq (Debian: dnsmasq-base)")
    present, options = CASES[name]
    services = build(*present, **options, stateDir=str(tmp_path / 'a directory, "so called" \\ #1'))
    services.tftp_dir.mkdir(parents=True)
    for file in present:
        (services.tftp_dir / file).parent.mkdir(exist_ok=True)
        (services.tftp_dir / file).write_bytes(b"x")
    check_services(services, render_configuration(services), program=program)


def test_without_a_proxy_there_is_no_word_of_dhcp() -> None:
    """A DHCP server beside the router's is the last thing that a network needs; and TFTP stays on."""
    text = render_configuration(build(*ALL))
    assert "enable-tftp\n" in text
    assert not [line for line in text.splitlines() if re.match(r"dhcp|pxe|interface|except|no-dhcp", line)]


def test_each_network_has_a_range_of_its_own() -> None:
    options = {**PROXY, "proxyDhcp.subnets": ["198.51.100.0/24", "203.0.113.128/25"]}
    lines = render_configuration(build(*ALL, **options)).splitlines()
    assert [line for line in lines if line.startswith("dhcp-range=")] == [
        "dhcp-range=192.0.2.0,proxy,255.255.255.0",
        "dhcp-range=198.51.100.0,proxy,255.255.255.0",
        "dhcp-range=203.0.113.128,proxy,255.255.255.128",
    ]


@pytest.mark.parametrize("file", ["boot.efi", "undionly.kpxe"])
def test_what_is_not_there_is_not_offered(file: str) -> None:
    lines = render_configuration(build(file, **PROXY, tftpBootFilename="boot.efi")).splitlines()
    offers = [line for line in lines if line.startswith(("pxe-service", "dhcp-boot"))]
    assert any(file in line for line in offers)
    assert not any("arm64" in line or "ia32" in line for line in offers)


@given(st.sets(st.sampled_from(ALL[:-1]), min_size=1))
def test_what_must_hold_of_every_proxy(present: set[str]) -> None:
    services = build(*present, **PROXY)
    lines = render_configuration(services).splitlines()
    numbers = [line.split(",")[1] for line in lines if line.startswith("pxe-service=")]
    assert len(set(numbers)) == len(numbers) > 0, "exactly one service an architecture"
    assert all(line.startswith("pxe-service=tag:!ipxe,") for line in lines if "pxe-service" in line)
    kinds = build_filenames(settings())
    for architecture in load_protocols().architectures:
        offered = kinds[architecture.binary] in present
        tag = f"tag:!arch{architecture.number}"
        assert any(tag in line.split(",") for line in lines if line.startswith("tag-if=")) is offered
        if architecture.transport is Transport.TFTP:
            assert (str(architecture.number) in numbers) is offered
        else:
            boots = [line for line in lines if line.startswith(f"dhcp-boot=tag:arch{architecture.number},")]
            assert len(boots) == offered
    assert sum(line.startswith("dhcp-boot=tag:ipxe,http://192.0.2.10:8080/") for line in lines) == 1


def test_every_architecture_of_the_table_is_served_with_all_binaries() -> None:
    numbers = {offer.architecture.number for offer in build(*ALL, **PROXY).offers}
    assert numbers == {0, 6, 7, 9, 11, 16, 19}
    assert set(build_filenames(settings())) == set(Binary)


def test_the_ports_are_those_that_dnsmasq_has_built_in() -> None:
    ports = load_protocols().ports
    assert (ports.dhcp, ports.tftp, ports.pxe) == (67, 69, 4011)


def test_a_proxy_without_any_binary_is_an_error() -> None:
    with pytest.raises(BootServicesError, match=r"no boot binary in /var/lib/every-channel/netboot/tftp"):
        build("autoexec.ipxe", **PROXY)


def test_faults_are_found_together(tmp_path: Path) -> None:
    seven = load_protocols().find_architecture(7)
    assert seven is not None
    (tmp_path / "there.efi").write_bytes(b"x")
    services = BootServices(
        listen_ip=ipaddress.IPv4Address("192.0.2.10"),
        tftp_dir=tmp_path,
        max_transfers=9,
        offers=tuple(
            Offer(architecture=seven, filename=name) for name in ("there.efi", "gone.efi", "nodot", "a,b.efi")
        ),
        proxy=build(*ALL, **PROXY).proxy,
    )
    assert find_faults(services) == [
        "architecture 7 has 4 services",
        "'a,b.efi' is no name that dnsmasq can offer: letters, digits, _ and -, and a dot",
        "'nodot' is no name that dnsmasq can offer: letters, digits, _ and -, and a dot",
        f"{tmp_path}/a,b.efi is not there",
        f"{tmp_path}/autoexec.ipxe is not there",
        f"{tmp_path}/gone.efi is not there",
        f"{tmp_path}/nodot is not there",
    ]
    with pytest.raises(BootServicesError, match=r"architecture 7 has 4 services; .*nodot is not there"):
        check_services(services, "", program="dnsmasq")


def test_boot_files_are_regular_files(tmp_path: Path) -> None:
    (tmp_path / "a.efi").write_bytes(b"x")
    (tmp_path / "b.efi").mkdir()
    (tmp_path / "c.efi").symlink_to("nothing")
    (tmp_path / "sb/deep").mkdir(parents=True)
    (tmp_path / "sb/deep/d.efi").write_bytes(b"x")
    (tmp_path / "linked").symlink_to("sb")
    assert list_boot_files(tmp_path) == {"a.efi", "sb/deep/d.efi"}
    assert list_boot_files(tmp_path / "none") == frozenset()
