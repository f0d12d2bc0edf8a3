"""iPXE's variables, as the offers that it takes set them."""

from __future__ import annotations

import pytest
from support.pxe_messages import PROXY, ROUTER, client_of, lease, proxy

from ectools.netboot.probe.diagnose.variables import build_variables
from ectools.netboot.probe.simulate.choose import Choice
from ectools.netboot.probe.wire.dhcp import Option
from ectools.netboot.probe.wire.offers import Answer

MAC, URI = "02:00:00:00:00:01", "http://192.0.2.2/d/a.ipxe?token=x"


def build(number: int = 7, *, lease: Answer | None = None, proxy: Answer | None = None) -> dict[str, str]:
    client = client_of(number, ipxe=True)
    choice = Choice(client=client, offers=(), lease=lease, proxy=proxy)
    return build_variables(choice, client_of(number).architecture, mac=MAC, uri=URI)


def test_without_an_offer() -> None:
    assert build() == {
        "mac": MAC,
        "net0/mac": MAC,
        "platform": "efi",
        "buildarch": "x86_64",
        "cwuri": URI,
        "cwduri": "http://192.0.2.2/d/",
        "uuid": "00000000",
    }


@pytest.mark.parametrize(
    ("number", "platform", "arch"), [(0, "pcbios", "i386"), (6, "efi", "i386"), (11, "efi", "arm64")]
)
def test_the_machine(number: int, platform: str, arch: str) -> None:
    found = build(number)
    assert (found["platform"], found["buildarch"]) == (platform, arch)


def test_the_dhcp_servers_word_comes_before_the_proxys() -> None:
    offer = lease(siaddr=ROUTER, options={Option.DNS: PROXY.packed + ROUTER.packed})
    found = build(lease=offer, proxy=proxy(siaddr=PROXY, file="a.efi"))
    assert (found["next-server"], found["net0/next-server"], found["proxydhcp/next-server"]) == (
        *("192.0.2.1", "192.0.2.1", "192.0.2.2"),
    )
    assert (found["filename"], found["proxydhcp/filename"], "net0/filename" in found) == (
        *("a.efi", "a.efi", False),
    )
    assert (found["ip"], found["net0/ip"], found["dhcp-server"]) == ("192.0.2.50", "192.0.2.50", "192.0.2.1")
    assert found["dns"] == found["net0/dns"] == "192.0.2.2"
    assert "dns" not in build(lease=lease())
