"""The model → dnsmasq's configuration. See dnsmasq(8); each comment says what is not obvious from it.

The configuration holds no secret, and goes to dnsmasq's standard input: no file is left behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.netboot.dnsmasq.hosts import OTHER_TAG
from ectools.netboot.protocols import Transport

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ectools.netboot.dnsmasq.model import BootServices, Offer, Proxy

_MENU_TEXT = "every.channel"


def render_configuration(services: BootServices) -> str:
    """The configuration's text."""
    return "".join(f"{line}\n" for line in _render(services))


def _render(services: BootServices) -> Iterator[str]:
    yield from (
        "# Made by ectools netboot serve.",
        "keep-in-foreground",
        "log-facility=-",
        "pid-file=",
        "# No DNS.",
        "port=0",
        "no-resolv",
        "no-hosts",
        f"listen-address={services.listen_ip}",
        "bind-interfaces",
        "",
        "enable-tftp",
        f"tftp-root={_quote_path(services.tftp_dir)}",
        f"tftp-max={services.max_transfers}",
    )
    # Without a range there is no DHCP at all. Naming the interface as one without DHCP would end TFTP too.
    if services.proxy is not None:
        yield from _render_proxy(services, services.proxy)


def _render_proxy(services: BootServices, proxy: Proxy) -> Iterator[str]:
    by_transport = {
        transport: [offer for offer in services.offers if offer.architecture.transport is transport]
        for transport in Transport
    }
    yield from (
        "",
        # The first is this host's own; a relayed request is of the network that its relay's address is in.
        *(f"dhcp-range={each.network_address},proxy,{each.netmask}" for each in proxy.networks),
        "leasefile-ro",
        "no-ping",
        "log-dhcp",
        "dhcp-pxe-vendor=PXEClient,HTTPClient",
        "",
        "# iPXE names itself in two ways; one is enough.",
        "dhcp-match=set:ipxe,175",
        "dhcp-userclass=set:ipxe,iPXE",
    )
    if services.hosts_file is not None:
        yield f"dhcp-hostsfile={_quote_path(services.hosts_file)}"
    for offer in services.offers:
        number = offer.architecture.number
        yield f"dhcp-match=set:{_tag(offer)},option:client-arch,{number}"
    yield from (
        "",
        "# Who cannot be served is not answered: it would wait for a file that never comes.",
        f"tag-if=set:unserved,tag:!ipxe,{','.join(f'tag:!{_tag(offer)}' for offer in services.offers)}",
        "dhcp-ignore=tag:unserved",
        "",
        "# One service an architecture: of two, firmware makes a menu. None for iPXE: it would load itself.",
    )
    for offer in by_transport[Transport.TFTP]:
        for tags, filename in _list_files(offer):
            yield f'pxe-service=tag:!ipxe,{tags}{offer.architecture.number},"{_MENU_TEXT}",{filename}'
    yield ""
    yield f"dhcp-boot=tag:ipxe,{proxy.script_url},,{services.listen_ip}"
    for offer in by_transport[Transport.HTTP]:
        for tags, filename in _list_files(offer):
            url = f"{proxy.base_url}/{filename}"
            yield f"dhcp-boot=tag:{_tag(offer)},tag:!ipxe,{tags}{url},,{services.listen_ip}"


def _list_files(offer: Offer) -> Iterator[tuple[str, str]]:
    """(further tags, file) of an offer: of one architecture no two apply to a machine."""
    if offer.other is None:
        yield "", offer.filename
        return
    yield f"tag:!{OTHER_TAG},", offer.filename
    yield f"tag:{OTHER_TAG},", offer.other


def _tag(offer: Offer) -> str:
    return f"arch{offer.architecture.number}"


def _quote_path(path: Path) -> str:
    """Within quotes commas and the like mean nothing; these do, and can be escaped."""
    text = str(path)
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(plain, escaped)
    return f'"{text}"'
