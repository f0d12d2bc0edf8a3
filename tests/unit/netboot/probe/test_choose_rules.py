"""Each rule by which a client takes an offer, and what is told of it: which of several, in which order."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest
from support.boot_binaries import build_uefi_application
from support.pxe_messages import OTHER, PROXY, ROUTER, answer, client_of, lease, menu, proxy

from ectools.netboot.probe.clients.client import Client
from ectools.netboot.probe.diagnose.network import collect_faults, find_network_faults
from ectools.netboot.probe.diagnose.trace import BootOutcome, BootStage, BootTrace
from ectools.netboot.probe.faults import REMEDIES, BootFault, FaultCode, Severity
from ectools.netboot.probe.simulate.choose import Choice, choose_firmware, choose_http
from ectools.netboot.probe.simulate.choose_ipxe import choose_ipxe
from ectools.netboot.probe.simulate.fetcher import Fetched, FetchState
from ectools.netboot.probe.simulate.requested_file import RequestedFile, Role
from ectools.netboot.probe.wire.dhcp import Option
from ectools.netboot.probe.wire.offers import Answer, BootQuestion

UEFI, BIOS, HTTP, IPXE = client_of(7), client_of(0), client_of(16), client_of(7, ipxe=True)
LAST = IPv4Address("192.0.2.4")


class Servers(dict[IPv4Address, Answer]):
    """Answers port 4011, and keeps who was asked for what."""

    def __init__(self, *answers: Answer) -> None:
        super().__init__({each.server: each for each in answers})
        self.asked: list[tuple[IPv4Address, int | None]] = []

    def __call__(self, server: IPv4Address, item: int | None) -> Answer | None:
        self.asked.append((server, item))
        return self.get(server)


def serving(server: IPv4Address, file: str = "b.efi") -> Answer:
    return answer(server, siaddr=server, file=file, vendor_class="PXEClient")


def told(choice: Choice) -> list[tuple[FaultCode, str]]:
    assert all(fault.client == choice.client and fault.severity is Severity.ERROR for fault in choice.faults)
    return [(fault.code, fault.message) for fault in choice.faults]


def uri(choice: Choice) -> str | None:
    return None if choice.target is None else choice.target.uri


# The PXE of a firmware: the kinds of offers, by precedence


def firmware(*offers: Answer, servers: Servers | None = None) -> Choice:
    return choose_firmware(UEFI, offers, Servers() if servers is None else servers)


def test_a_dhcp_servers_own_menu_comes_first() -> None:
    own = lease(OTHER, vendor_class="PXEClient", options=menu((1, "own", OTHER)))
    second = lease(LAST, vendor_class="PXEClient", options=menu((2, "second", LAST)))
    servers = Servers(serving(OTHER))
    choice = firmware(
        lease(file="plain"), proxy(options=menu((3, "proxy", PROXY))), own, second, servers=servers
    )
    assert (choice.lease, choice.proxy, servers.asked) == (own, None, [(OTHER, 1)])
    assert uri(choice) == "tftp://192.0.2.3/b.efi"


def test_then_the_first_proxys_menu_with_the_first_plain_lease() -> None:
    asking = lease(LAST, vendor_class="PXEClient")
    first, second = proxy(options=menu((1, "a", PROXY))), proxy(OTHER, options=menu((2, "b", OTHER)))
    plain, other = lease(), lease(OTHER)
    servers = Servers(serving(PROXY))
    choice = firmware(asking, proxy(LAST), first, second, plain, other, servers=servers)
    assert (choice.lease, choice.proxy) == (plain, first)
    assert servers.asked == [(PROXY, 1)]


def test_then_the_first_dhcp_server_that_says_pxe() -> None:
    asking, second = lease(OTHER, vendor_class="PXEClient"), lease(LAST, vendor_class="PXEClient")
    servers = Servers(serving(OTHER), serving(LAST), serving(PROXY))
    choice = firmware(lease(file="plain"), proxy(), asking, second, servers=servers)
    assert (choice.lease, choice.proxy, servers.asked) == (asking, None, [(OTHER, None)])
    assert uri(choice) == "tftp://192.0.2.3/b.efi"


def test_then_a_proxy_by_port_4011() -> None:
    plain, second = lease(file="plain"), proxy(OTHER)
    servers = Servers(serving(OTHER), serving(LAST))
    choice = firmware(plain, lease(LAST), proxy(), second, proxy(LAST), servers=servers)
    assert (choice.lease, choice.proxy) == (plain, second)
    assert servers.asked == [(PROXY, None), (OTHER, None)]
    # The first one's silence is a fault all the same.
    assert [code for code, _ in told(choice)] == [FaultCode.MISSING_4011]
    assert choice.asked == [
        BootQuestion(server=PROXY, item=None, answer=None),
        BootQuestion(server=OTHER, item=None, answer=servers[OTHER]),
    ]


def test_then_the_first_lease_with_a_file() -> None:
    nothing, second = lease(), lease(OTHER, file="a.efi")
    choice = firmware(nothing, second, lease(LAST, file="b.efi"))
    assert (choice.lease, choice.proxy, uri(choice)) == (second, None, "tftp://192.0.2.3/a.efi")
    assert firmware(nothing, lease(OTHER)).lease == nothing
    assert firmware().lease is None


def test_a_silent_port_4011_is_told_with_who_sends_the_client_there() -> None:
    assert told(firmware(lease(), proxy())) == [
        (
            FaultCode.MISSING_4011,
            "192.0.2.2 does not answer on UDP port 4011, where its offer sends the client for the boot file",
        )
    ]
    assert told(firmware(lease(), proxy(options=menu((5, "a", PROXY))))) == [
        (
            FaultCode.MISSING_4011,
            (
                "192.0.2.2 does not answer on UDP port 4011, where its menu's item 5 sends the client for the"
                " boot file"
            ),
        )
    ]


def test_port_4011_that_cannot_be_asked_is_a_note() -> None:
    choice = choose_firmware(UEFI, (lease(), proxy(siaddr=OTHER)), None)
    (note,) = choice.notes
    assert note.startswith("192.0.2.3: port 4011 was not asked, because this interface has no IPv4 address")
    assert (choice.asked, choice.faults) == ([], [])


# Its menu


def test_a_menu_of_several_entries() -> None:
    servers = Servers(serving(PROXY))
    offer = proxy(options=menu((7, "one", PROXY), (8, "two", PROXY), prompt=254))
    choice = firmware(lease(), offer, servers=servers)
    assert told(choice) == [
        (FaultCode.MENU, "192.0.2.2 offers a menu of several entries; its entries: 'one', 'two'")
    ]
    assert servers.asked == [(PROXY, 7)]


def test_a_menu_that_waits() -> None:
    waiting = proxy(options=menu((7, "one", PROXY), prompt=255))
    assert told(firmware(lease(), waiting, servers=Servers(serving(PROXY)))) == [
        (FaultCode.MENU, "192.0.2.2 offers a menu and waits for a person; its entries: 'one'")
    ]
    empty = proxy(options=menu(prompt=255))
    assert told(firmware(lease(), empty)) == [
        (FaultCode.MENU, "192.0.2.2 offers a menu and waits for a person; its entries: none")
    ]


def test_a_menu_of_the_local_disk() -> None:
    choice = firmware(lease(), proxy(options=menu((0, "disk", PROXY)), file="a.efi"))
    assert told(choice) == [(FaultCode.MENU, "192.0.2.2 offers a menu that begins with the local disk")]
    assert (uri(choice), choice.asked) == (None, [])


def test_a_skipped_menu_without_a_file_is_gone_through() -> None:
    offer = proxy(options=menu((7, "one", PROXY), (8, "two", PROXY), control=8))
    servers = Servers(serving(PROXY))
    assert uri(firmware(lease(), offer, servers=servers)) == "tftp://192.0.2.2/b.efi"
    assert servers.asked == [(PROXY, 7)]
    # With one, nothing is asked.
    named = proxy(options=menu((7, "one", None), (8, "two", None), control=8), file="c.efi")
    choice = firmware(lease(), named, servers=servers)
    assert (uri(choice), told(choice)) == ("tftp://192.0.2.2/c.efi", [])
    assert len(servers.asked) == 1


def test_the_servers_of_an_item_are_asked_in_turn() -> None:
    value = menu((7, "one", OTHER))[43]
    two = value.replace(b"\x00\x07\x01" + OTHER.packed, b"\x00\x07\x02" + OTHER.packed + LAST.packed)
    two = two.replace(bytes((8, 7)), bytes((8, 11)), 1)
    servers = Servers(serving(LAST))
    choice = firmware(lease(), proxy(options={43: two}), servers=servers)
    assert servers.asked == [(OTHER, 7), (LAST, 7)]
    assert uri(choice) == "tftp://192.0.2.4/b.efi"


def test_an_item_without_a_server_is_a_note() -> None:
    choice = firmware(lease(), proxy(options=menu((7, "one", None))))
    assert choice.notes == ["item 7 has no server: a client looks for one by broadcast; not asked"]
    assert (uri(choice), told(choice)) == (None, [])


# Its file


def test_a_listed_server_counts_where_the_menu_is_skipped() -> None:
    listed = menu((7, "one", OTHER), control=8)
    offer = lease(siaddr=PROXY, file="//a.efi", vendor_class="PXEClient", options=listed)
    choice = firmware(offer)
    assert choice.target is not None
    assert (choice.target.uri, choice.target.server, choice.target.by) == (
        "tftp://192.0.2.3/a.efi",
        OTHER,
        offer,
    )
    unlisted = lease(
        siaddr=PROXY, file="a.efi", vendor_class="PXEClient", options=menu((7, "one", None), control=8)
    )
    assert uri(firmware(unlisted)) == "tftp://192.0.2.2/a.efi"
    nobody = dict(menu((7, "one", None), control=8))
    nobody[43] = b"\x08\x03\x00\x07\x00" + nobody[43]
    assert (
        uri(firmware(lease(siaddr=PROXY, file="a.efi", vendor_class="PXEClient", options=nobody)))
        == "tftp://192.0.2.2/a.efi"
    )


def test_without_a_skipped_menu_the_list_is_not_read() -> None:
    answered = answer(
        PROXY,
        siaddr=PROXY,
        file="a.efi",
        vendor_class="PXEClient",
        options={43: b"\x08\x07\x00\x07\x01" + OTHER.packed},
    )
    servers = Servers()
    servers[PROXY] = answered
    # EDK2 takes what has a server list for discovery: there is no menu, so it gives up.
    assert uri(firmware(lease(), proxy(), servers=servers)) is None


def test_a_url_in_pxe() -> None:
    for url in ("http://192.0.2.2/a", "HTTPS://192.0.2.2/a"):
        assert told(firmware(lease(siaddr=PROXY, file=url))) == [
            (FaultCode.URL_FOR_TFTP, f"192.0.2.1 gives this PXE client a URL, which it asks TFTP for: {url}")
        ]
    assert told(firmware(lease(siaddr=PROXY, file="xhttp://a"))) == []


@pytest.mark.parametrize(
    ("name", "siaddr", "faulty"),
    [
        (b"192.0.2.1", IPv4Address(0), False),
        (b"192.0.2.1", ROUTER, False),
        (b"192.0.2.2", PROXY, False),
        # Option 66 is not read, but that it says otherwise shows a mistake where siaddr is the server's own.
        (b"192.0.2.3", ROUTER, True),
        (b"boot.example.org", ROUTER, True),
        (b"boot.example.org", PROXY, False),
        (b"192.0.2.3", PROXY, True),
    ],
)
def test_option_66(name: bytes, siaddr: IPv4Address, faulty: bool) -> None:
    choice = firmware(lease(siaddr=siaddr, file="a", options={66: name}))
    asked = siaddr if siaddr != IPv4Address(0) else ROUTER
    expected = (
        FaultCode.SIADDR_AGAINST_OPTION_66,
        (
            f"192.0.2.1 sets option 66 to {name.decode()}, but siaddr to {siaddr}: clients ignore option 66"
            f" and ask {asked}"
        ),
    )
    assert told(choice) == ([expected] if faulty else [])


# UEFI HTTP boot


URL, NAMED = "http://192.0.2.2/a.efi", "http://boot.example.org/a.efi"


def http(*offers: Answer) -> Choice:
    return choose_http(HTTP, offers)


def test_http_boot_takes_the_first_of_a_kind() -> None:
    first, second = (
        proxy(vendor_class="HTTPClient", file=URL),
        proxy(OTHER, vendor_class="HTTPClient", file=URL),
    )
    choice = http(first, lease(), lease(OTHER), second)
    assert choice.target is not None
    assert (choice.target.by, choice.target.server) == (first, None)
    assert (choice.lease, choice.proxy) == (lease(), first)
    own = lease(LAST, vendor_class="HTTPClient", file=URL)
    choice = http(first, lease(), own)
    assert choice.target is not None
    assert (choice.target.by, choice.lease, choice.proxy) == (own, own, None)


def test_http_boot_needs_an_address() -> None:
    choice = http(proxy(vendor_class="HTTPClient", file=URL))
    assert (choice.target, choice.lease, told(choice)) == (None, None, [])


def test_http_boot_prefers_an_address_to_a_name_without_dns() -> None:
    choice = http(
        lease(),
        proxy(vendor_class="HTTPClient", file=NAMED),
        proxy(OTHER, vendor_class="HTTPClient", file=URL),
    )
    assert (uri(choice), told(choice)) == (URL, [])


@pytest.mark.parametrize("who", ["lease", "proxy", "other"])
def test_a_name_server_may_be_anybodys(who: str) -> None:
    dns = {6: ROUTER.packed}
    offers = (
        lease(options=dns if who == "lease" else {}),
        lease(OTHER, options=dns if who == "other" else {}),
        proxy(vendor_class="HTTPClient", file=NAMED, options=dns if who == "proxy" else {}),
    )
    assert uri(http(*offers)) == NAMED


def test_names_without_a_name_server_are_told() -> None:
    choice = http(
        lease(),
        proxy(vendor_class="HTTPClient", file=NAMED),
        proxy(OTHER, vendor_class="HTTPClient", file=NAMED),
    )
    assert uri(choice) is None
    assert choice.lease == lease()
    assert told(choice) == [
        (FaultCode.URL_WITHOUT_DNS, f"{server} offers {NAMED}, and nobody gives a name server (option 6)")
        for server in ("192.0.2.2", "192.0.2.3")
    ]


def test_a_url_without_the_echo_is_told() -> None:
    choice = http(lease(file=URL), proxy(file=URL), proxy(vendor_class="HTTPClient", file="a.efi"))
    assert told(choice) == [
        (
            FaultCode.HTTP_BOOT_WITHOUT_ECHO,
            f"{server} offers the URL {URL}, but not with option 60 HTTPClient: UEFI HTTP boot ignores it",
        )
        for server in ("192.0.2.1", "192.0.2.2")
    ] + [
        (
            FaultCode.HTTP_BOOT_WITHOUT_URL,
            "192.0.2.2 gives UEFI HTTP boot a file name, a.efi, and no URL",
        )
    ]
    assert uri(choice) is None


def test_a_file_name_is_no_url() -> None:
    choice = http(lease(file="a.efi"), proxy(vendor_class="HTTPClient"))
    assert told(choice) == [
        (
            FaultCode.HTTP_BOOT_WITHOUT_URL,
            "192.0.2.1 gives UEFI HTTP boot a file name, a.efi, and no URL, nor option 60 HTTPClient",
        )
    ]
    # Who has a URL as well is not held up by it.
    assert told(http(lease(file="a.efi"), proxy(vendor_class="HTTPClient", file=URL))) == []


def test_a_proxy_behind_a_relay_is_asked_through_firewalls() -> None:
    relayed = lease(giaddr=OTHER)
    choice = choose_firmware(UEFI, (relayed, proxy()), lambda _server, _item: None)
    assert choice.relay == OTHER
    (fault,) = choice.faults
    assert fault.code is FaultCode.MISSING_4011
    assert "behind a DHCP relay" in fault.advice
    (fault,) = choose_firmware(UEFI, (lease(), proxy()), lambda _server, _item: None).faults
    assert fault.advice == REMEDIES[FaultCode.MISSING_4011]


# iPXE


SCRIPT = "http://192.0.2.2/a.ipxe"


def ipxe(*offers: Answer, servers: Servers | None = None) -> Choice:
    return choose_ipxe(IPXE, offers, Servers() if servers is None else servers)


def prefer(offer: Answer, priority: int) -> Answer:
    options = {**offer.message.options, 175: bytes((1, 1, priority & 0xFF))}
    return replace(offer, message=replace(offer.message, options=options))


@pytest.mark.parametrize(
    ("first", "second", "taken"), [(0, 0, 1), (5, 5, 1), (5, 4, 0), (4, 5, 1), (0, -1, 0)]
)
def test_the_later_of_equal_priority_is_taken(first: int, second: int, taken: int) -> None:
    offers = (prefer(lease(), first), prefer(lease(OTHER), second))
    assert ipxe(*offers).lease == offers[taken]
    proxies = (
        prefer(proxy(siaddr=PROXY, file=SCRIPT), first),
        prefer(proxy(OTHER, siaddr=OTHER, file=SCRIPT), second),
    )
    assert ipxe(*proxies, lease()).proxy == proxies[taken]


@pytest.mark.parametrize(("seconds", "heard"), [(2.0, True), (2.1, False)])
def test_how_long_ipxe_listens_for_a_proxy(seconds: float, heard: bool) -> None:
    late = replace(proxy(siaddr=PROXY, file=SCRIPT), seconds=seconds)
    assert (ipxe(lease(), late).proxy is not None) is heard
    # Without a lease it listens on.
    assert ipxe(late, replace(lease(), seconds=seconds + 1)).proxy is not None


def test_ipxe_stops_listening_once_it_has_both() -> None:
    choice = ipxe(lease(), proxy(siaddr=PROXY, file=SCRIPT), lease(OTHER))
    assert choice.lease == lease()
    both = lease(vendor_class="PXEClient", siaddr=PROXY, file="a.ipxe")
    assert ipxe(both, proxy(siaddr=PROXY, file=SCRIPT)).proxy == both


@pytest.mark.parametrize(
    ("offer", "asked"),
    [
        (proxy(siaddr=PROXY, file=SCRIPT), None),
        (proxy(file=SCRIPT), PROXY),
        (proxy(siaddr=OTHER), PROXY),
        (
            replace(
                proxy(siaddr=OTHER), message=replace(proxy(siaddr=OTHER).message, options={60: b"PXEClient"})
            ),
            OTHER,
        ),
        (replace(proxy(), message=replace(proxy().message, options={60: b"PXEClient"}), source=LAST), LAST),
    ],
)
def test_a_proxy_without_boot_options_is_asked(offer: Answer, asked: IPv4Address | None) -> None:
    servers = Servers()
    ipxe(lease(), offer, servers=servers)
    assert servers.asked == ([] if asked is None else [(asked, None)])


def test_a_silent_proxy_is_none() -> None:
    choice = ipxe(lease(siaddr=ROUTER, file="a.ipxe"), proxy())
    assert (choice.proxy, uri(choice)) == (None, "tftp://192.0.2.1/a.ipxe")


def test_ipxes_menu() -> None:
    servers = Servers(serving(PROXY, SCRIPT))
    waiting = ipxe(lease(), proxy(options=menu((7, "one", PROXY), prompt=None)), servers=servers)
    assert told(waiting) == [
        (
            FaultCode.MENU,
            "192.0.2.2 offers iPXE a menu, where it waits for a person; its entries: 'one'",
        )
    ]
    assert (uri(waiting), servers.asked) == (None, [])
    counted = ipxe(
        lease(), proxy(options=menu((7, "one", PROXY), (8, "two", PROXY), prompt=254)), servers=servers
    )
    assert (told(counted), servers.asked[-1]) == ([], (PROXY, 7))


def test_ipxes_menu_of_the_local_disk() -> None:
    choice = ipxe(lease(siaddr=ROUTER, file="a"), proxy(options=menu((0, "disk", PROXY))))
    assert choice.notes == ["192.0.2.2: the menu's first entry is the local disk"]
    assert (uri(choice), choice.asked) == (None, [])


def test_a_menu_whose_servers_are_silent_leads_nowhere() -> None:
    choice = ipxe(lease(siaddr=ROUTER, file="a"), proxy(options=menu((7, "one", PROXY))))
    assert uri(choice) is None
    assert [code for code, _ in told(choice)] == [FaultCode.MISSING_4011]


def test_a_menu_that_is_skipped_by_ipxe() -> None:
    skipped = proxy(siaddr=PROXY, file=SCRIPT, options=menu((7, "one", PROXY), control=8))
    assert uri(ipxe(lease(), skipped)) == SCRIPT
    nameless = proxy(options=menu((7, "one", PROXY), control=8))
    servers = Servers(serving(PROXY, SCRIPT))
    assert uri(ipxe(lease(), nameless, servers=servers)) == SCRIPT
    assert servers.asked == [(PROXY, 7)]


def test_a_lease_with_a_menu_of_its_own() -> None:
    own = lease(vendor_class="PXEClient", options={**menu((7, "one", OTHER)), 175: b"\xb0\x01\x01"})
    servers = Servers(serving(OTHER, SCRIPT))
    choice = ipxe(own, proxy(siaddr=PROXY, file="x"), servers=servers)
    assert (choice.proxy, servers.asked, uri(choice)) == (None, [(OTHER, 7)], SCRIPT)


def test_a_file_without_a_server_is_a_note() -> None:
    choice = ipxe(lease(file="a.ipxe"), proxy(siaddr=PROXY, file=SCRIPT))
    assert choice.notes == ["192.0.2.1 names a.ipxe, but no server for it (siaddr is 0.0.0.0)"]
    assert uri(choice) is None


def test_a_uri_of_any_scheme_is_taken_as_it_is() -> None:
    choice = ipxe(lease(file="nfs://192.0.2.2/a"))
    assert choice.target is not None
    assert (choice.target.uri, choice.target.server, choice.target.by) == (
        "nfs://192.0.2.2/a",
        None,
        lease(file="nfs://192.0.2.2/a"),
    )
    plain = ipxe(lease(siaddr=PROXY, file="//a.ipxe"))
    assert plain.target is not None
    assert (plain.target.uri, plain.target.server) == ("tftp://192.0.2.2/a.ipxe", PROXY)


# Of the network


def test_servers_of_the_network_are_named_in_order() -> None:
    faults = find_network_faults(
        {UEFI: (lease(PROXY), lease(ROUTER), lease(ROUTER)), BIOS: (lease(OTHER),)}, interface="eth0"
    )
    assert [(fault.code, fault.message, fault.client) for fault in faults] == [
        (
            FaultCode.TWO_DHCP_SERVERS,
            "3 DHCP servers answer: 192.0.2.1, 192.0.2.2, 192.0.2.3; they say the same of what to boot",
            None,
        )
    ]


def compare_leases(*leases: Answer) -> tuple[Severity, str]:
    (fault,) = find_network_faults({UEFI: leases, BIOS: ()}, interface="eth0")
    assert fault.code is FaultCode.TWO_DHCP_SERVERS
    return fault.severity, fault.message.partition("; ")[2]


def test_dhcp_servers_of_one_mind_are_a_warning() -> None:
    mask = {Option.SUBNET_MASK: bytes((255, 255, 255, 0))}
    way = {**mask, Option.ROUTER: ROUTER.packed, Option.DNS: ROUTER.packed}
    boot: dict[str, Any] = {"siaddr": PROXY, "file": "a.efi"}
    same = "they say the same of what to boot"
    assert compare_leases(lease(ROUTER, options=way), lease(OTHER, options=way)) == (Severity.WARNING, same)
    assert compare_leases(
        lease(ROUTER, options=way, **boot), lease(OTHER, options={**way, Option.ROUTER: OTHER.packed}, **boot)
    ) == (Severity.WARNING, f"{same}, but for the router")
    assert compare_leases(lease(ROUTER, options=way, **boot), lease(OTHER, options=mask, **boot)) == (
        Severity.WARNING,
        f"{same}, but for the router and the DNS server",
    )
    # Each is its own siaddr, and names no file.
    assert compare_leases(lease(ROUTER, siaddr=ROUTER), lease(OTHER, siaddr=OTHER)) == (
        Severity.WARNING,
        same,
    )


@pytest.mark.parametrize(
    "other",
    [
        lease(OTHER),
        lease(OTHER, siaddr=OTHER, file="a.efi"),
        lease(OTHER, siaddr=PROXY, file="b.efi"),
        lease(OTHER, siaddr=PROXY, file="a.efi", vendor_class="PXEClient"),
        lease(OTHER, siaddr=PROXY, file="a.efi", options={Option.VENDOR: b"\x06\x01\x08"}),
    ],
)
def test_dhcp_servers_that_differ_are_an_error(other: Answer) -> None:
    severity, message = compare_leases(lease(siaddr=PROXY, file="a.efi"), other)
    assert (severity, message) == (Severity.ERROR, "they do not say the same of what to boot")


def test_dhcp_servers_of_different_networks() -> None:
    mask = {Option.SUBNET_MASK: bytes((255, 255, 255, 0))}
    elsewhere = answer(OTHER, yiaddr=IPv4Address("198.51.100.7"), options=mask)
    expected = (Severity.ERROR, "their addresses are of different networks")
    assert compare_leases(lease(options=mask), elsewhere) == expected
    nonsense = answer(OTHER, yiaddr=IPv4Address("198.51.100.7"), options={Option.SUBNET_MASK: b"\1\2\3\4"})
    assert compare_leases(lease(options=mask), nonsense) == expected


def test_proxies_of_one_mind_are_a_warning() -> None:
    (fault,) = find_network_faults(
        {UEFI: (lease(), proxy(siaddr=PROXY), proxy(OTHER, siaddr=PROXY))}, interface="eth0"
    )
    assert (fault.code, fault.severity) == (FaultCode.TWO_PROXIES, Severity.WARNING)
    (fault,) = find_network_faults({UEFI: (lease(), proxy(), proxy(OTHER))}, interface="eth0")
    assert (fault.code, fault.severity) == (FaultCode.TWO_PROXIES, Severity.ERROR)


@pytest.mark.parametrize(("file", "severity"), [("a.efi", Severity.WARNING), ("b.efi", Severity.ERROR)])
def test_proxies_are_compared_by_their_port_4011(file: str, severity: Severity) -> None:
    asked = []

    def ask(client: Client, server: IPv4Address, item: int | None) -> Answer | None:
        asked.append((client, server, item))
        return answer(
            server, siaddr=LAST, file="a.efi" if server == PROXY else file, vendor_class="PXEClient"
        )

    offers = {UEFI: (lease(), proxy(), proxy(OTHER)), BIOS: (lease(), proxy())}
    (fault,) = find_network_faults(offers, interface="eth0", ask=ask)
    assert (fault.code, fault.severity) == (FaultCode.TWO_PROXIES, severity)
    assert asked == [(UEFI, PROXY, None), (UEFI, OTHER, None)]


def test_proxies_that_name_their_file_need_not_be_asked() -> None:
    boot = {"siaddr": LAST, "file": "a.efi"}
    named = {UEFI: (lease(), proxy(**boot), proxy(OTHER, **boot))}
    (fault,) = find_network_faults(named, interface="eth0", ask=lambda *_: None)
    assert fault.severity is Severity.WARNING
    silent = {UEFI: (lease(), proxy(), proxy(OTHER))}
    (fault,) = find_network_faults(silent, interface="eth0", ask=lambda *_: None)
    assert fault.severity is Severity.ERROR


def test_proxies_of_one_client_are_told_once() -> None:
    two = (lease(), proxy(OTHER), proxy(vendor_class="HTTPClient"))
    faults = find_network_faults({BIOS: (lease(),), UEFI: two, HTTP: two}, interface="eth0")
    assert [(fault.code, fault.message) for fault in faults] == [
        (
            FaultCode.TWO_PROXIES,
            "2 proxies answer: 192.0.2.2, 192.0.2.3; they do not say the same of what to boot",
        )
    ]
    # What says neither is no proxy for a boot.
    assert (
        find_network_faults({UEFI: (lease(), proxy(), proxy(OTHER, vendor_class="x"))}, interface="e") == []
    )


def trace_of(outcome: BootOutcome, code: FaultCode, *, number: int = 7) -> BootTrace:
    client = client_of(number)
    return BootTrace(
        architecture=client.architecture,
        outcome=outcome,
        faults=[BootFault(code=code, message="m", client=client)],
    )


@pytest.mark.parametrize(
    ("code", "outcome", "asked_for", "severity"),
    [
        (FaultCode.NO_BOOT_ANSWER, BootOutcome.BOOTS, (), Severity.WARNING),
        (FaultCode.NO_DHCP_ANSWER, BootOutcome.BOOTS, (), Severity.WARNING),
        (FaultCode.WRONG_ARCHITECTURE, BootOutcome.UNKNOWN, (), Severity.WARNING),
        (FaultCode.WRONG_ARCHITECTURE, BootOutcome.STOPS, (), Severity.ERROR),
        (FaultCode.WRONG_ARCHITECTURE, BootOutcome.NOT_OFFERED, (), Severity.ERROR),
        (FaultCode.WRONG_ARCHITECTURE, BootOutcome.BOOTS, (7,), Severity.ERROR),
        (FaultCode.WRONG_ARCHITECTURE, BootOutcome.BOOTS, (0,), Severity.WARNING),
        (FaultCode.MENU, BootOutcome.BOOTS, (), Severity.ERROR),
    ],
)
def test_what_is_mild(
    code: FaultCode, outcome: BootOutcome, asked_for: tuple[int, ...], severity: Severity
) -> None:
    other = BootTrace(architecture=client_of(0).architecture, outcome=outcome)
    (fault,) = collect_faults([other, trace_of(BootOutcome.STOPS, code)], asked_for=asked_for)
    assert (fault.severity, fault.code, fault.message) == (severity, code, "m")


# Of one architecture


def start_trace() -> BootTrace:
    stage = BootStage(client=UEFI, choice=Choice(client=UEFI, offers=()))
    last = BootStage(client=IPXE, choice=Choice(client=IPXE, offers=()))
    return BootTrace(architecture=UEFI.architecture, stages=[stage, last])


def test_a_fault_is_of_the_present_stage_and_told_once() -> None:
    trace = start_trace()
    trace.add_fault(FaultCode.MENU, "m")
    trace.add_fault(FaultCode.MENU, "m")
    trace.add_fault(FaultCode.MENU, "m", severity=Severity.WARNING, remedy="r")
    assert trace.faults == [
        BootFault(code=FaultCode.MENU, message="m", client=IPXE),
        BootFault(code=FaultCode.MENU, message="m", client=IPXE, severity=Severity.WARNING, remedy="r"),
    ]
    assert trace.outcome is BootOutcome.STOPS


@pytest.mark.parametrize(
    ("scheme", "state", "role", "code"),
    [
        ("tftp", FetchState.SILENT, Role.KERNEL, FaultCode.TFTP_SILENT),
        ("http", FetchState.SILENT, Role.INITRD, FaultCode.HTTP_SILENT),
        ("tftp", FetchState.MISSING, Role.KERNEL, FaultCode.KERNEL_MISSING),
        ("http", FetchState.REFUSED, Role.INITRD, FaultCode.INITRD_MISSING),
        ("tftp", FetchState.MISSING, Role.SCRIPT, FaultCode.FILE_MISSING_TFTP),
        ("https", FetchState.MISSING, Role.PROGRAM, FaultCode.FILE_MISSING_HTTP),
    ],
)
def test_a_file_that_was_not_got(scheme: str, state: FetchState, role: Role, code: FaultCode) -> None:
    trace = start_trace()
    file = RequestedFile(role=role, fetched=Fetched(uri=f"{scheme}://h/a?token=x", state=state, detail="why"))
    trace.add_missing(file, severity=Severity.WARNING)
    (fault,) = trace.faults
    assert (fault.code, fault.message, fault.severity) == (
        code,
        f"{scheme}://h/a?token=***: why",
        Severity.WARNING,
    )
    assert (fault.remedy is not None) is (state is FetchState.REFUSED)
    trace.add_missing(replace(file, role=Role.FILE))
    assert trace.faults[1].severity is Severity.ERROR


def test_a_file_that_could_not_be_asked_for() -> None:
    trace = start_trace()
    trace.add_missing(
        RequestedFile(
            role=Role.KERNEL, fetched=Fetched(uri="nfs://h/a", state=FetchState.UNKNOWN, detail="not asked")
        )
    )
    assert (trace.faults, trace.notes, trace.outcome) == ([], ["nfs://h/a: not asked"], BootOutcome.UNKNOWN)


@pytest.mark.parametrize(
    ("state", "what"),
    [(FetchState.MISSING, "nothing"), (FetchState.FOUND, "a UEFI program for ARM 64-bit UEFI")],
)
def test_a_file_that_is_something_else(state: FetchState, what: str) -> None:
    trace = start_trace()
    file = RequestedFile(
        role=Role.SCRIPT,
        fetched=Fetched(uri="tftp://h/a", state=state, head=build_uefi_application(0xAA64)),
    )
    trace.add_unreadable(file)
    trace.add_wrong_architecture(file)
    assert [(fault.code, fault.message) for fault in trace.faults] == [
        (FaultCode.SCRIPT_UNREADABLE, f"tftp://h/a is {what}, where iPXE expects a script"),
        (
            FaultCode.WRONG_ARCHITECTURE,
            f"tftp://h/a is {what}: a client of architecture 7 (x64 UEFI) cannot start it",
        ),
    ]
