"""What serving network boot needs of this host: free ports, the right to take them, a boot binary."""

from __future__ import annotations

import errno
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from ectools.addresses import find_own_address
from ectools.capabilities import Capability, has_capability
from ectools.checks.doctor.findings import Finding, FindingState
from ectools.checks.doctor.kernel import read_kernel_file
from ectools.netboot.boot_files.choose import BinaryError, find_stock
from ectools.netboot.protocols import load_protocols
from ectools.netboot.server.host_warnings import (
    HostWarning,
    find_host_warnings,
    find_small_kernel_settings,
)
from ectools.netboot.settings.kernel_settings import list_kernel_settings
from ectools.netboot.settings.load import load_netboot_settings

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from ectools.netboot.settings.model import ServerSettings

_FIRST_FREE_PORT = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


def check_udp_ports(address: IPv4Address | None = None) -> list[Finding]:
    """TFTP's at an address of this host, and ProxyDHCP's two, as the boot server would take them.

    ``address`` None: the one that this host reaches others from. libvirt's dnsmasq, which has these ports on
    a bridge of its own, is beside it.
    """
    ports = load_protocols().ports
    commands = ("netboot",)
    tftp = try_port(ports.tftp, udp=True, commands=commands, address=address or find_own_address())
    shared = [try_port(port, udp=True, commands=commands, is_shared=True) for port in (ports.dhcp, ports.pxe)]
    return [tftp, *shared]


def check_in_the_way(settings: ServerSettings) -> list[Finding]:
    """What of this host is in the way of a boot server with these settings."""
    return [_limit_by(warning) for warning in find_host_warnings(settings)]


def _limit_by(warning: HostWarning) -> Finding:
    return Finding(
        name=warning.subject,
        commands=("netboot",),
        state=FindingState.LIMITED,
        detail=warning.message,
        remedy=warning.hint,
    )


def check_kernel_settings() -> list[Finding]:
    """What of the kernel's numbers is too little for a crowd, by the settings' defaults."""
    settings = load_netboot_settings(None, environment={})
    return [_limit_by(each) for each in find_small_kernel_settings(list_kernel_settings(settings))]


def check_port_rights() -> Finding:
    """Whether this user may serve TFTP and DHCP."""
    name, commands = "privileged ports", ("netboot",)
    first_free = read_kernel_file(str(_FIRST_FREE_PORT)).strip() or "1024"
    if has_capability(Capability.NET_BIND_SERVICE) or int(first_free) <= load_protocols().ports.dhcp:
        return Finding(name=name, commands=commands, state=FindingState.OK, detail="this user may take them")
    return Finding(
        name=name,
        commands=commands,
        state=FindingState.LIMITED,
        detail="this user may not take ports below "
        + first_free
        + "; serve cannot answer TFTP when started by it",
        remedy="start it as a service, or as root",
    )


def check_boot_binary() -> Finding:
    """The stock iPXE of the default strategy."""
    name, commands = "iPXE", ("netboot",)
    try:
        found = find_stock(None)
    except BinaryError as error:
        return Finding(
            name=name, commands=commands, state=FindingState.LIMITED, detail=error.message, remedy=error.hint
        )
    return Finding(
        name=name, commands=commands, state=FindingState.OK, detail=f"{found.facts.title} ({found.where})"
    )


def try_port(
    port: int,
    *,
    udp: bool,
    commands: tuple[str, ...],
    address: IPv4Address | None = None,
    is_shared: bool = False,
) -> Finding:
    """Bind the port as its server would, and let it go. ``is_shared``: beside sockets of other interfaces."""
    name = f"port {port}/{'udp' if udp else 'tcp'}"
    where = str(address or ("0.0.0.0" if udp else "127.0.0.1"))  # noqa: S104 - as dnsmasq does
    kind = socket.SOCK_DGRAM if udp else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as probe:
        if not udp:
            # As servers do: a connection that has just ended does not hold the port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            probe.bind((where, port))
        except OSError as error:
            remedies = {
                errno.EADDRINUSE: "stop what listens there, or choose another port",
                errno.EADDRNOTAVAIL: "`ip -4 address` lists this host's addresses; listenIP is one of them",
            }
            return Finding(
                name=name,
                commands=commands,
                state=FindingState.LIMITED,
                detail=f"{where}: {error.strerror}",
                remedy=remedies.get(error.errno or 0, "run it as a service"),
            )
    return Finding(name=name, commands=commands, state=FindingState.OK, detail=f"free on {where}")
