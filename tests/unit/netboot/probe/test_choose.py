"""What each client takes of the offers that it hears."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from support.choices import BIOS, HTTP, IPXE, UEFI, uri
from support.pxe_messages import OTHER, PROXY, ROUTER, answer, lease, menu, proxy

from ectools.netboot.probe.faults import FaultCode
from ectools.netboot.probe.simulate.choose import Choice, choose_firmware, choose_http
from ectools.netboot.probe.simulate.choose_ipxe import choose_ipxe
from ectools.netboot.probe.wire.offers import Answer

SCRIPT = "http://192.0.2.2:8080/netboot.ipxe"


class Servers:
    """Answers port 4011, and keeps who was asked for what."""

    def __init__(self, answers: dict[IPv4Address, Answer] | None = None) -> None:
        self.answers = answers or {}
        self.asked: list[tuple[IPv4Address, int | None]] = []

    def __call__(self, server: IPv4Address, item: int | None) -> Answer | None:
        self.asked.append((server, item))
        return self.answers.get(server)


def codes(choice: Choice) -> list[FaultCode]:
    return [fault.code for fault in choice.faults]


def firmware(*offers: Answer, servers: Servers | None = None, client: object = UEFI) -> Choice:
    return choose_firmware(client, offers, servers or Servers())  # type: ignore[arg-type]


def test_a_router_that_names_server_and_file() -> None:
    choice = firmware(lease(siaddr=PROXY, file="ec-ipxe.efi"))
    assert uri(choice) == "tftp://192.0.2.2/ec-ipxe.efi"
    assert codes(choice) == []


def test_without_siaddr_the_server_that_answered_is_asked() -> None:
    assert uri(firmware(lease(file="a.efi"))) == "tftp://192.0.2.1/a.efi"


def test_option_67_comes_before_the_header() -> None:
    assert uri(firmware(lease(siaddr=PROXY, file="a.efi", options={67: b"b.efi\0"}))) == (
        "tftp://192.0.2.2/b.efi"
    )


@pytest.mark.parametrize("siaddr", [IPv4Address(0), ROUTER])
def test_option_66_is_ignored_and_told(siaddr: IPv4Address) -> None:
    options = {66: b"192.0.2.2", 67: b"a.efi"}
    choice = firmware(lease(siaddr=siaddr, options=options))
    assert uri(choice) == "tftp://192.0.2.1/a.efi"
    assert codes(choice) == [FaultCode.SIADDR_AGAINST_OPTION_66]
    assert "option 66 to 192.0.2.2" in choice.faults[0].message
    assert f"siaddr to {siaddr}" in choice.faults[0].message


@pytest.mark.parametrize("name", [b"192.0.2.2", b"boot.example.org"])
def test_option_66_beside_a_siaddr_of_its_own_does_no_harm(name: bytes) -> None:
    assert codes(firmware(lease(siaddr=PROXY, file="a.efi", options={66: name}))) == []


def test_option_66_with_a_name_and_no_siaddr_is_told() -> None:
    choice = firmware(lease(file="a.efi", options={66: b"boot.example.org"}))
    assert codes(choice) == [FaultCode.SIADDR_AGAINST_OPTION_66]


def test_a_proxy_for_uefi_is_asked_on_4011() -> None:
    servers = Servers({PROXY: answer(PROXY, siaddr=PROXY, file="ec-ipxe.efi", vendor_class="PXEClient")})
    choice = firmware(proxy(siaddr=PROXY), lease(siaddr=ROUTER, file="router.efi"), servers=servers)
    assert uri(choice) == "tftp://192.0.2.2/ec-ipxe.efi"
    assert servers.asked == [(PROXY, None)]
    assert choice.lease is not None
    assert choice.lease.server == ROUTER


def test_a_proxy_that_is_silent_on_4011() -> None:
    choice = firmware(lease(), proxy(siaddr=PROXY))
    assert uri(choice) is None
    assert codes(choice) == [FaultCode.MISSING_4011]


def test_the_second_proxy_is_asked_where_the_first_is_silent() -> None:
    servers = Servers({OTHER: answer(OTHER, siaddr=OTHER, file="b.efi", vendor_class="PXEClient")})
    choice = firmware(lease(), proxy(), proxy(OTHER), servers=servers)
    assert uri(choice) == "tftp://192.0.2.3/b.efi"
    assert [server for server, _ in servers.asked] == [PROXY, OTHER]


def test_a_dhcp_server_that_says_it_is_a_pxe_server_is_asked_on_4011() -> None:
    """Option 60 PXEClient set on a router by hand: the file in its offer is not used."""
    choice = firmware(lease(siaddr=PROXY, file="a.efi", vendor_class="PXEClient"))
    assert uri(choice) is None
    assert codes(choice) == [FaultCode.MISSING_4011]
    assert "192.0.2.2 does not answer on UDP port 4011" in choice.faults[0].message


def test_nothing_is_asked_without_an_address() -> None:
    choice = choose_firmware(UEFI, (lease(), proxy()), None)
    assert uri(choice) is None
    assert codes(choice) == []
    assert "--lease" in choice.notes[0]


def test_the_single_entry_of_a_menu_is_taken_and_its_server_asked() -> None:
    servers = Servers({PROXY: answer(PROXY, siaddr=PROXY, file="undionly.kpxe", vendor_class="PXEClient")})
    choice = firmware(lease(), proxy(options=menu((0x8000, "EC", PROXY))), servers=servers, client=BIOS)
    assert uri(choice) == "tftp://192.0.2.2/undionly.kpxe"
    assert servers.asked == [(PROXY, 0x8000)]
    assert codes(choice) == []


@pytest.mark.parametrize(("prompt", "asked"), [(255, []), (9, [(PROXY, 0x8000)])])
def test_a_menu_of_two_is_told_and_its_first_entry_taken_after_its_time(
    prompt: int, asked: list[tuple[IPv4Address, int]]
) -> None:
    """OVMF waits at 255 for a person."""
    servers = Servers({PROXY: answer(PROXY, siaddr=PROXY, file="a.efi", vendor_class="PXEClient")})
    options = menu((0x8000, "one", PROXY), (0x8001, "two", PROXY), prompt=prompt)
    choice = firmware(lease(), proxy(options=options), servers=servers)
    assert codes(choice) == [FaultCode.MENU]
    assert ("waits for a person" in choice.faults[0].message) is (prompt == 255)
    assert "'one', 'two'" in choice.faults[0].message
    assert servers.asked == asked


def test_a_menu_that_begins_with_the_local_disk() -> None:
    choice = firmware(lease(), proxy(options=menu((0, "disk", None))))
    assert uri(choice) is None
    assert codes(choice) == [FaultCode.MENU]


def test_discovery_without_a_menu_is_no_offer() -> None:
    assert firmware(lease(), proxy(options=menu(control=8))).faults == []


def test_the_menu_is_skipped_where_bit_3_says_so_and_the_server_list_comes_first() -> None:
    options = menu((0x8000, "EC", OTHER), control=8)
    choice = firmware(lease(), proxy(siaddr=PROXY, file="a.efi", options=options))
    assert uri(choice) == "tftp://192.0.2.3/a.efi"


def test_a_url_for_tftp() -> None:
    choice = firmware(lease(siaddr=PROXY, file=SCRIPT))
    assert codes(choice) == [FaultCode.URL_FOR_TFTP]


def test_a_proxy_without_a_lease_boots_nobody() -> None:
    assert uri(firmware(proxy(siaddr=PROXY, file="a.efi"))) is None


def test_a_proxy_that_does_not_say_pxe_is_not_heard() -> None:
    assert uri(firmware(lease(), proxy(vendor_class="", siaddr=PROXY, file="a.efi"))) is None


# UEFI HTTP boot


def test_http_boot_takes_a_url_from_httpclient() -> None:
    url = "http://192.0.2.2:8080/ec-ipxe.efi"
    choice = choose_http(HTTP, (lease(), proxy(vendor_class="HTTPClient", file=url)))
    assert uri(choice) == url
    assert codes(choice) == []


def test_http_boot_prefers_the_dhcp_servers_url() -> None:
    mine, theirs = "http://192.0.2.1/a.efi", "http://192.0.2.2/b.efi"
    offers = (
        proxy(vendor_class="HTTPClient", file=theirs),
        lease(vendor_class="HTTPClient", file=mine),
    )
    assert uri(choose_http(HTTP, offers)) == mine


def test_http_boot_ignores_a_url_without_the_echo() -> None:
    choice = choose_http(HTTP, (lease(file="http://192.0.2.2/a.efi"),))
    assert uri(choice) is None
    assert codes(choice) == [FaultCode.HTTP_BOOT_WITHOUT_ECHO]


def test_http_boot_needs_dns_for_a_name() -> None:
    url = "http://boot.example.org/a.efi"
    choice = choose_http(HTTP, (lease(vendor_class="HTTPClient", file=url),))
    assert codes(choice) == [FaultCode.URL_WITHOUT_DNS]
    with_dns = lease(options={6: ROUTER.packed})
    choice = choose_http(HTTP, (with_dns, proxy(vendor_class="HTTPClient", file=url)))
    assert uri(choice) == url


# iPXE


def ipxe(*offers: Answer, servers: Servers | None = None) -> Choice:
    return choose_ipxe(IPXE, offers, servers or Servers())


def test_ipxe_takes_the_proxys_script_without_asking_4011() -> None:
    servers = Servers()
    choice = ipxe(lease(), proxy(siaddr=PROXY, file=SCRIPT), servers=servers)
    assert uri(choice) == SCRIPT
    assert servers.asked == []


def test_ipxe_asks_a_proxy_that_named_nothing() -> None:
    servers = Servers({PROXY: answer(PROXY, siaddr=PROXY, file=SCRIPT, vendor_class="PXEClient")})
    assert uri(ipxe(lease(), proxy(), servers=servers)) == SCRIPT
    assert servers.asked == [(PROXY, None)]


def test_ipxe_prefers_the_routers_file() -> None:
    """Both at once: iPXE is sent back to the first stage by the router, whatever the proxy says."""
    choice = ipxe(lease(siaddr=PROXY, file="ec-ipxe.efi"), proxy(siaddr=PROXY, file=SCRIPT))
    assert uri(choice) == "tftp://192.0.2.2/ec-ipxe.efi"


def test_ipxe_heeds_its_own_options() -> None:
    no_proxy = lease(options={175: bytes((0xB0, 1, 1))}, siaddr=PROXY, file="a.ipxe")
    assert uri(ipxe(no_proxy, proxy(siaddr=PROXY, file=SCRIPT))) == "tftp://192.0.2.2/a.ipxe"
    preferred = lease(OTHER, options={175: bytes((1, 1, 5))}, siaddr=OTHER, file="b.ipxe")
    assert uri(ipxe(preferred, lease(siaddr=PROXY, file="a.ipxe"))) == "tftp://192.0.2.3/b.ipxe"


def test_ipxe_waits_two_seconds_for_a_proxy() -> None:
    late = replace(proxy(siaddr=PROXY, file=SCRIPT), seconds=4.0)
    assert uri(ipxe(lease(), late)) is None


def test_ipxe_does_not_read_option_66() -> None:
    choice = ipxe(lease(siaddr=ROUTER, file="a.ipxe", options={66: b"192.0.2.2"}))
    assert codes(choice) == [FaultCode.SIADDR_AGAINST_OPTION_66]


def test_ipxe_without_an_offer() -> None:
    assert ipxe().lease is None
    assert uri(ipxe(proxy(siaddr=PROXY, file=SCRIPT))) is None


def test_ipxe_takes_the_menus_first_entry() -> None:
    servers = Servers({PROXY: answer(PROXY, siaddr=PROXY, file="a.ipxe", vendor_class="PXEClient")})
    choice = ipxe(lease(), proxy(options=menu((0x8000, "EC", PROXY))), servers=servers)
    assert uri(choice) == "tftp://192.0.2.2/a.ipxe"
    waiting = ipxe(lease(), proxy(options=menu((0x8000, "EC", PROXY), prompt=255)), servers=servers)
    assert codes(waiting) == [FaultCode.MENU]
