"""What TFTP and ProxyDHCP serve: the one model that dnsmasq's configuration is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ectools.errors import EcError
from ectools.ipxe.language import AUTOEXEC_NAME
from ectools.netboot.boot_files.by_machine import find_other_filename
from ectools.netboot.boot_files.layout import build_filenames
from ectools.netboot.dnsmasq.hosts import find_hosts_file
from ectools.netboot.protocols import Binary, Transport, load_protocols
from ectools.netboot.settings.model import NETBOOT_OPTIONS

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv4Network
    from pathlib import Path

    from ectools.netboot.protocols import Architecture
    from ectools.netboot.settings.model import ServerSettings


class BootServicesError(EcError):
    """What is to be offered cannot be; the message names each fault."""


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A client architecture, and the file in the TFTP directory that its clients load.

    ``other``: the file of those that the hosts file names; None where all get the same.
    """

    architecture: Architecture
    filename: str
    other: str | None = None

    @property
    def filenames(self) -> tuple[str, ...]:
        """All of them."""
        return (self.filename,) if self.other is None else (self.filename, self.other)


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """ProxyDHCP: which networks it answers, and where clients of HTTP find the TFTP directory's files.

    ``base_url`` holds this host's address, because firmware may have no DNS server yet.
    """

    networks: tuple[IPv4Network, ...]
    base_url: str

    @property
    def script_url(self) -> str:
        """Where clients that run iPXE already are sent."""
        return f"{self.base_url}/{AUTOEXEC_NAME}"


@dataclass(frozen=True, kw_only=True)
class BootServices:
    """Everything beside HTTP. ``proxy`` None: another DHCP server names this host and the file.

    ``hosts_file``: the machines that get another file than the rest (``hosts``), None where none can.
    """

    listen_ip: IPv4Address
    tftp_dir: Path
    max_transfers: int
    offers: tuple[Offer, ...]
    proxy: Proxy | None
    hosts_file: Path | None = None


def build_boot_services(settings: ServerSettings, *, present: frozenset[str]) -> BootServices:
    """The services for the binaries that are ``present`` in the TFTP directory.

    An architecture without its binary is not offered. Raises BootServicesError where ProxyDHCP has nothing
    to offer at all.
    """
    names = build_filenames(settings)
    other = find_other_filename(settings)
    # Once it is there: so that a node that is to have it takes no start of dnsmasq.
    other = other if other in present else None
    offers = tuple(
        Offer(
            architecture=each,
            filename=names[each.binary],
            other=other if each.binary is Binary.X86_64 else None,
        )
        for each in load_protocols().architectures
        if names[each.binary] in present
    )
    proxy = None
    if settings.proxy_dhcp is not None:
        if not any(offer.architecture.transport is Transport.TFTP for offer in offers):
            raise BootServicesError(
                f"{NETBOOT_OPTIONS}.proxyDhcp.enable: there is no boot binary in {settings.tftp_dir}, "
                "so there is nothing to offer",
                hint="`ectools netboot ipxe` puts the binaries there",
            )
        proxy = Proxy(
            networks=settings.proxy_dhcp.networks,
            base_url=f"http://{settings.listen_ip}:{settings.http_port}",
        )
    return BootServices(
        listen_ip=settings.listen_ip,
        tftp_dir=settings.tftp_dir,
        max_transfers=settings.tftp.max_transfers,
        offers=offers,
        proxy=proxy,
        hosts_file=None if other is None else find_hosts_file(settings),
    )
