"""A firmware's choice among the offers that it gets: pure, but for ``ask``, which asks port 4011.

Each rule is the client's own, not the standard's. EDK2's PXE:
https://github.com/tianocore/edk2/blob/master/NetworkPkg/UefiPxeBcDxe/PxeBcDhcp4.c (PxeBcSelectDhcp4Offer,
PxeBcRetryBinlOffer) and PxeBcBoot.c (PxeBcSelectBootPrompt, PxeBcDhcp4BootInfo). Its HTTP boot:
https://github.com/tianocore/edk2/blob/master/NetworkPkg/HttpBootDxe/HttpBootDhcp4.c
(HttpBootSelectDhcpOffer).
A BIOS's PXE ROM is taken to follow the same specification (PXE 2.1). iPXE is in ``choose_ipxe.py``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ectools.netboot.probe.faults import BootFault, FaultCode
from ectools.netboot.probe.wire.dhcp import NO_ADDRESS, Option
from ectools.netboot.probe.wire.offers import Answer, BootQuestion
from ectools.netboot.probe.wire.pxe_option43 import WAIT_FOR_EVER, PxeOption43

if TYPE_CHECKING:
    from ectools.netboot.probe.clients.client import Client

Ask = Callable[[IPv4Address, int | None], Answer | None]
"""(server, menu item) → what its port 4011 answers; None for silence."""


_RELAYED_4011 = (
    "the client is behind a DHCP relay, which forwards broadcasts alone: let the firewalls between the"
    " networks pass UDP 4011 from the clients to the proxy and back, and open it in the proxy's own"
)


@dataclass(frozen=True, kw_only=True)
class BootTarget:
    """The file that the client loads, named by ``by``. ``server`` is None where the URI names its host."""

    uri: str
    by: Answer
    server: IPv4Address | None = None


@dataclass(kw_only=True)
class Choice:
    """A client's decision, and what led to it.

    ``lease`` is the offer whose address it takes, ``proxy`` the one that it was sent to a boot server by;
    ``asked`` are the questions to port 4011.
    """

    client: Client
    offers: tuple[Answer, ...]
    lease: Answer | None = None
    proxy: Answer | None = None
    target: BootTarget | None = None
    asked: list[BootQuestion] = field(default_factory=list)
    faults: list[BootFault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add_fault(self, code: FaultCode, message: str, *, remedy: str | None = None) -> None:
        self.faults.append(BootFault(code=code, message=message, client=self.client, remedy=remedy))

    @property
    def relay(self) -> IPv4Address | None:
        """The relay that a lease came through (giaddr); None where the client is in the servers' network."""
        found = (each.message.giaddr for each in self.offers if not each.is_proxy)
        return next((each for each in found if each != NO_ADDRESS), None)

    @property
    def has_file_field(self) -> bool:
        """Whether one of the answers names the file in the header's field, and not in option 67 alone."""
        answers = (self.lease, self.proxy, *(question.answer for question in self.asked))
        return any(each is not None and each.message.file.strip(b"\0") for each in answers)

    def ask(self, ask: Ask | None, server: IPv4Address, item: int | None) -> Answer | None:
        """The answer of port 4011, None for silence; question and fault are kept.

        Without ``ask`` it is not asked, which gives a note.
        """
        if ask is None:
            self.notes.append(
                f"{server}: port 4011 was not asked, because this interface has no IPv4 address:"
                " --lease takes one for the time of the probe"
            )
            return None
        answer = ask(server, item)
        self.asked.append(BootQuestion(server=server, item=item, answer=answer))
        if answer is None:
            what = (
                "its offer sends the client" if item is None else f"its menu's item {item} sends the client"
            )
            self.add_fault(
                FaultCode.MISSING_4011,
                f"{server} does not answer on UDP port 4011, where {what} for the boot file",
                remedy=None if self.relay is None else _RELAYED_4011,
            )
        return answer


def choose_firmware(client: Client, offers: tuple[Answer, ...], ask: Ask | None) -> Choice:
    """The choice of a firmware's PXE.

    EDK2 looks for these kinds of offers, in this order, and takes the first of a kind: a DHCP server's with
    discovery options, a proxy's with them, a DHCP server's that says PXEClient, a proxy's, a DHCP server's
    with a file name.
    """
    choice = Choice(client=client, offers=offers)
    leases = [each for each in offers if not each.is_proxy]
    proxies = [each for each in offers if each.is_proxy and each.is_pxe]
    menus = [each for each in leases if each.option43.has_discovery]
    proxy_menus = [each for each in proxies if each.option43.has_discovery]
    asking = [each for each in leases if each.is_pxe and not each.option43.has_discovery]
    plain = [each for each in leases if not each.is_pxe]
    proxy_asking = [each for each in proxies if not each.option43.has_discovery]
    packet: Answer | None = None
    if menus:
        choice.lease = packet = menus[0]
    elif plain and proxy_menus:
        choice.lease, choice.proxy = plain[0], proxy_menus[0]
        packet = proxy_menus[0]
    elif asking:
        choice.lease = asking[0]
        packet = choice.ask(ask, asking[0].boot_server, None)
    elif plain and proxy_asking:
        choice.lease = plain[0]
        for each in proxy_asking:
            packet = choice.ask(ask, each.boot_server, None)
            if packet is not None:
                choice.proxy = each
                break
    else:
        packet = next((each for each in plain if each.message.boot_file), None)
        choice.lease = packet or next(iter(plain), None)
    if packet is not None and packet.option43.has_discovery:
        packet = _take_menu(choice, packet, ask)
    if packet is not None and packet.message.boot_file:
        _take_file(choice, packet, packet.message.boot_file)
    return choice


def _take_menu(choice: Choice, packet: Answer, ask: Ask | None) -> Answer | None:
    """The message that names the file, after menu and prompt; None where the client gets no further."""
    option43 = packet.option43
    if option43.skip_menu and packet.message.boot_file:
        return packet
    if len(option43.menu) > 1 or option43.prompt_seconds == WAIT_FOR_EVER:
        waits = "and waits for a person" if option43.prompt_seconds == WAIT_FOR_EVER else "of several entries"
        entries = ", ".join(repr(each.text) for each in option43.menu) or "none"
        choice.add_fault(FaultCode.MENU, f"{packet.server} offers a menu {waits}; its entries: {entries}")
    if option43.prompt_seconds == WAIT_FOR_EVER:
        # OVMF was still there after 7 minutes.
        return None
    # EDK2 takes "no menu, and no file either" for the local disk, and gives up.
    item = option43.menu[0].type if option43.menu else 0
    if item == 0:
        if option43.menu:
            choice.add_fault(FaultCode.MENU, f"{packet.server} offers a menu that begins with the local disk")
        return None
    servers = option43.find_servers(item)
    if not servers:
        choice.notes.append(f"item {item} has no server: a client looks for one by broadcast; not asked")
    for server in servers:
        answer = choice.ask(ask, server, item)
        if answer is not None:
            return answer
    return None


def _take_file(choice: Choice, packet: Answer, name: str) -> None:
    """Set the TFTP target of a message. EDK2: the boot server list, siaddr, option 54; never option 66."""
    server = _find_listed_server(packet.option43) or packet.boot_server
    if _is_url(name):
        choice.add_fault(
            FaultCode.URL_FOR_TFTP,
            f"{packet.server} gives this PXE client a URL, which it asks TFTP for: {name}",
        )
    choice.target = BootTarget(uri=f"tftp://{server}/{name.lstrip('/')}", by=packet, server=server)
    check_option_66(choice, packet, server)


def _find_listed_server(option43: PxeOption43) -> IPv4Address | None:
    if not option43.skip_menu or not option43.servers or not option43.servers[0][1]:
        return None
    return option43.servers[0][1][0]


def check_option_66(choice: Choice, packet: Answer, server: IPv4Address) -> None:
    """Add a fault where option 66 names another server than the one that is asked.

    Clients read siaddr alone.
    """
    name = packet.message.tftp_server_name
    if name is None:
        return
    try:
        named = ipaddress.IPv4Address(name)
    except ValueError:
        # A name: whom it means is not known here. It does no harm where siaddr is set.
        if packet.message.siaddr not in (NO_ADDRESS, packet.server):
            return
    else:
        if named == server:
            return
    choice.add_fault(
        FaultCode.SIADDR_AGAINST_OPTION_66,
        f"{packet.server} sets option 66 to {name}, but siaddr to {packet.message.siaddr}: clients ignore"
        f" option 66 and ask {server}",
    )


def choose_http(client: Client, offers: tuple[Answer, ...]) -> Choice:
    """The choice of UEFI HTTP boot (UEFI 2.10, section 24.7)."""
    choice = Choice(client=client, offers=offers)
    leases = [each for each in offers if not each.is_proxy]
    offering = [each for each in offers if each.is_http and _is_url(each.message.boot_file or "")]
    plain: list[Answer] = []
    for each in offers:
        if not each.is_http and _is_url(each.message.boot_file or ""):
            choice.add_fault(
                FaultCode.HTTP_BOOT_WITHOUT_ECHO,
                f"{each.server} offers the URL {each.message.boot_file}, but not with option 60 HTTPClient:"
                " UEFI HTTP boot ignores it",
            )
        elif each.message.boot_file and not _is_url(each.message.boot_file):
            plain.append(each)
    choice.lease = next(iter(leases), None)
    by_name: list[Answer] = []
    # A URL of the DHCP server's own comes before a proxy's; an address before a name, which needs DNS.
    for each in [*(o for o in offering if not o.is_proxy), *(o for o in offering if o.is_proxy)]:
        url = each.message.boot_file or ""
        lease = each if not each.is_proxy else choice.lease
        if lease is None:
            continue
        if not _names_address(url) and not any(Option.DNS in one.message.options for one in (each, *leases)):
            by_name.append(each)
            continue
        choice.lease, choice.proxy = lease, each if each.is_proxy else None
        choice.target = BootTarget(uri=url, by=each)
        return choice
    for each in by_name:
        choice.add_fault(
            FaultCode.URL_WITHOUT_DNS,
            f"{each.server} offers {each.message.boot_file}, and nobody gives a name server (option 6)",
        )
    if not offering:
        for each in plain:
            echo = "" if each.is_http else ", nor option 60 HTTPClient"
            message = (
                f"{each.server} gives UEFI HTTP boot a file name, {each.message.boot_file}, and no URL{echo}"
            )
            choice.add_fault(FaultCode.HTTP_BOOT_WITHOUT_URL, message)
    return choice


def _is_url(name: str) -> bool:
    return name.lower().startswith(("http://", "https://"))


def _names_address(url: str) -> bool:
    try:
        ipaddress.IPv4Address(urlsplit(url).hostname or "")
    except ValueError:
        return False
    return True
