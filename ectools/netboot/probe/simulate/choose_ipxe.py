"""iPXE's choice among the offers that it gets.

https://github.com/ipxe/ipxe/blob/master/src/net/udp/dhcp.c (dhcp_discovery_rx, dhcp_has_pxeopts) and
src/usr/autoboot.c (netboot, have_pxe_menu). The DHCP server's file name comes before the proxy's, because its
settings are registered first (src/core/settings.c, reprioritise_settings).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.netboot.probe.faults import FaultCode
from ectools.netboot.probe.simulate.choose import Ask, BootTarget, Choice, check_option_66
from ectools.netboot.probe.wire.dhcp import NO_ADDRESS
from ectools.netboot.probe.wire.pxe_option43 import WAIT_FOR_EVER

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from ectools.netboot.probe.clients.client import Client
    from ectools.netboot.probe.wire.offers import Answer

_PROXY_SECONDS = 2.0
"""How long iPXE waits for a proxy once it has a lease (DHCP_DISC_PROXY_TIMEOUT_SEC)."""


def choose_ipxe(client: Client, offers: tuple[Answer, ...], ask: Ask | None) -> Choice:
    """The choice of an iPXE that no script directs."""
    choice = Choice(client=client, offers=offers)
    proxy = _take_offers(choice)
    if choice.lease is None:
        return choice
    if proxy is not None and not choice.lease.forbids_proxy:
        if not _has_boot_options(proxy):
            proxy = choice.ask(ask, _name_proxy(proxy), None)
        choice.proxy = proxy
    menu = choice.proxy or choice.lease
    option43 = menu.option43
    if option43.menu and not (option43.skip_menu and menu.message.boot_file):
        packet = _take_menu(choice, menu, ask)
        _take(choice, [] if packet is None else [packet])
    else:
        _take(choice, [each for each in (choice.lease, choice.proxy) if each is not None])
    return choice


def _take_offers(choice: Choice) -> Answer | None:
    """Set the lease and return the proxy's offer, of those that came before iPXE would stop listening."""
    proxy: Answer | None = None
    for each in choice.offers:
        if choice.lease is not None and (proxy is not None or each.seconds > _PROXY_SECONDS):
            break
        if not each.is_proxy and (choice.lease is None or each.ipxe_priority >= choice.lease.ipxe_priority):
            choice.lease = each
        if each.is_pxe and (proxy is None or each.ipxe_priority >= proxy.ipxe_priority):
            proxy = each
    return proxy


def _name_proxy(proxy: Answer) -> IPv4Address:
    """iPXE's "pseudo server identity": option 54, else siaddr, else the sender."""
    if proxy.message.server_id is not None:
        return proxy.message.server_id
    return proxy.message.siaddr if proxy.message.siaddr != NO_ADDRESS else proxy.source


def _has_boot_options(proxy: Answer) -> bool:
    message = proxy.message
    return bool((message.siaddr != NO_ADDRESS and message.boot_file) or proxy.option43.menu)


def _take_menu(choice: Choice, menu: Answer, ask: Ask | None) -> Answer | None:
    option43 = menu.option43
    if option43.prompt_seconds in (None, WAIT_FOR_EVER):
        entries = ", ".join(repr(each.text) for each in option43.menu)
        choice.add_fault(
            FaultCode.MENU,
            f"{menu.server} offers iPXE a menu, where it waits for a person; its entries: {entries}",
        )
        return None
    item = option43.menu[0].type
    if item == 0:
        choice.notes.append(f"{menu.server}: the menu's first entry is the local disk")
        return None
    for server in option43.find_servers(item):
        answer = choice.ask(ask, server, item)
        if answer is not None:
            return answer
    return None


def _take(choice: Choice, packets: list[Answer]) -> None:
    for packet in packets:
        name = packet.message.boot_file
        if not name:
            continue
        if "://" in name:
            choice.target = BootTarget(uri=name, by=packet)
            return
        server = packet.message.siaddr
        check_option_66(choice, packet, server)
        if server == NO_ADDRESS:
            choice.notes.append(f"{packet.server} names {name}, but no server for it (siaddr is 0.0.0.0)")
            return
        choice.target = BootTarget(uri=f"tftp://{server}/{name.lstrip('/')}", by=packet, server=server)
        return
