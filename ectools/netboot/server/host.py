"""Checks of this host before anything serves: an address, an interface, ports, directories."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

from ectools.addresses import list_own_addresses
from ectools.errors import EcError, InputError
from ectools.files import FileError
from ectools.netboot.protocols import load_protocols
from ectools.netboot.settings.model import Origins
from ectools.privileges import UnsafeDirectoryError, find_directory_user

if TYPE_CHECKING:
    from ipaddress import IPv4Address
    from pathlib import Path

    from ectools.netboot.settings.model import NetbootSettings, ServerSettings


class HostError(EcError):
    """This host cannot serve: an address, an interface or a port is not to be had."""


def check_host(settings: ServerSettings) -> None:
    """Raises HostError where the address or the interface is not this host's, or a UDP port not to be had.

    TCP's port is found out about when it is bound.
    """
    check_address(settings.listen_ip, settings.interface, origins=settings.origins)
    _check_port(settings.listen_ip, load_protocols().ports.tftp, "TFTP")
    if settings.proxy_dhcp is not None:
        check_proxy_ports()


def check_proxy_ports() -> None:
    """Raises HostError where a port of ProxyDHCP is not to be had."""
    ports = load_protocols().ports
    for port in (ports.dhcp, ports.pxe):
        # dnsmasq hears broadcasts with a socket for all addresses, which several may have.
        _check_port(None, port, "ProxyDHCP")


def list_ports(settings: ServerSettings) -> list[tuple[str, int]]:
    """What clients come to: protocol (``TCP``, ``UDP``) and port."""
    ports = load_protocols().ports
    proxied = [] if settings.proxy_dhcp is None else [("UDP", ports.dhcp), ("UDP", ports.pxe)]
    return [("TCP", settings.http_port), ("UDP", ports.tftp), *proxied]


def check_reloaded(settings: ServerSettings, before: ServerSettings) -> None:
    """What a start would find of this host, as far as other settings change it. Raises EcError."""
    if settings.interface != before.interface:
        # Nothing is bound to it: but the next start would fail.
        check_address(settings.listen_ip, settings.interface, origins=settings.origins)
    if settings.proxy_dhcp is not None and before.proxy_dhcp is None:
        check_proxy_ports()


def make_directories(settings: NetbootSettings) -> None:
    """The state directory, and those of TFTP and of the fleet, where they are missing.

    Whose they are has been settled before (``boot_user``): root is here in directories of its own.
    Raises FileError, UnsafeDirectoryError.
    """
    name = settings.origins.name("stateDir", settings.state_dir)
    _make_directory(settings.state_dir, 0o750, name=name)
    _make_directory(settings.tftp_dir, 0o755, name=name)
    _make_directory(settings.fleet_dir, 0o750, name=name)
    if os.geteuid() == 0 and (owner := find_directory_user(settings.state_dir, settings.tftp_dir)).uid != 0:
        raise UnsafeDirectoryError(
            f"{settings.state_dir}: is {owner.name}'s by now, and root serves it",
            hint="start the boot server again: it becomes the directory's user then",
        )


def _make_directory(directory: Path, mode: int, *, name: str) -> None:
    try:
        directory.mkdir(mode=mode, parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(
            f"{directory}: cannot be made: {error.strerror}",
            hint=f"{name} names the directory",
        ) from error


def check_address(address: IPv4Address, interface: str | None, *, origins: Origins | None = None) -> None:
    """Raises HostError or InputError where the address, or ``interface`` with it, is not this host's."""
    found = _find_interfaces(address)
    name = (origins or Origins()).name
    if not found:
        raise HostError(
            f"{name('listenIP', address)}: {address} is no address of this host",
            hint="`ip -4 address` lists them; one that DHCP gives may not be there yet",
        )
    if interface is None or interface in found:
        return
    known = [name for _, name in socket.if_nameindex()]
    if interface not in known:
        raise InputError(
            f"{name('interface', interface)}: there is no interface {interface}",
            hint=f"there are: {', '.join(known)}",
        )
    raise HostError(
        f"{name('interface', interface)}: {interface} does not have the address {address} of listenIP",
        hint=f"{', '.join(found)} has it",
    )


def _find_interfaces(address: IPv4Address) -> list[str]:
    """The interfaces that have the address. All of 127.0.0.0/8 is this host's (RFC 1122, section 3.2.1.3)."""
    return [
        name
        for name, own in list_own_addresses()
        if own == address or (address.is_loopback and own.is_loopback)
    ]


def _check_port(address: IPv4Address | None, port: int, what: str) -> None:
    where = f"{address or '*'}:{port}"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        if address is None:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            probe.bind(("" if address is None else str(address), port))
        except OSError as error:
            raise HostError(
                f"{what} cannot have UDP {where}: {error.strerror}", hint=_hint(error.errno, port)
            ) from error


def _hint(number: int | None, port: int) -> str | None:
    if number == errno.EADDRINUSE:
        return f"another program has the port (ss -lunp 'sport = :{port}' names it): stop it"
    if number in (errno.EACCES, errno.EPERM):
        return (
            "firmware knows no other ports, and those below 1024 need root (sudo), or CAP_NET_BIND_SERVICE "
            "(ProxyDHCP: CAP_NET_ADMIN too)"
        )
    return None
