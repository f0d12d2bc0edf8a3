"""Each rule by which a firmware takes an offer, and what is told of it: which of several, in which order."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from support.choices import HTTP, LAST, UEFI, Servers, serving, told, uri
from support.pxe_messages import OTHER, PROXY, ROUTER, answer, lease, menu, proxy

from ectools.netboot.probe.faults import REMEDIES, FaultCode
from ectools.netboot.probe.simulate.choose import Choice, choose_firmware, choose_http
from ectools.netboot.probe.wire.offers import Answer, BootQuestion

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
