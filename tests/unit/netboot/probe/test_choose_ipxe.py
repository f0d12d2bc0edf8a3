"""Each rule by which iPXE takes an offer: which of several, in which order, and what of a menu."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from support.choices import IPXE, LAST, Servers, serving, told, uri
from support.pxe_messages import OTHER, PROXY, ROUTER, lease, menu, proxy

from ectools.netboot.probe.faults import FaultCode
from ectools.netboot.probe.simulate.choose import Choice
from ectools.netboot.probe.simulate.choose_ipxe import choose_ipxe
from ectools.netboot.probe.wire.offers import Answer

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
