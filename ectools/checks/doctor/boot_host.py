"""What serving network boot needs of this host: free ports, the right to take them, a boot binary."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

from ectools.capabilities import Capability, has_capability
from ectools.checks.doctor.findings import Finding, FindingState
from ectools.checks.doctor.kernel import read_kernel_file
from ectools.netboot.boot_files.choose import BinaryError, find_stock
from ectools.netboot.protocols import load_protocols

_FIRST_FREE_PORT = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


def check_udp_ports() -> list[Finding]:
    """TFTP's, and ProxyDHCP's two."""
    ports = load_protocols().ports
    return [try_port(port, udp=True, commands=("netboot",)) for port in (ports.tftp, ports.dhcp, ports.pxe)]


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


def try_port(port: int, *, udp: bool, commands: tuple[str, ...]) -> Finding:
    """Bind the port as its server would, and let it go."""
    name, address = f"port {port}/{'udp' if udp else 'tcp'}", "0.0.0.0" if udp else "127.0.0.1"  # noqa: S104 - as dnsmasq does
    kind = socket.SOCK_DGRAM if udp else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as probe:
        if not udp:
            # As servers do: a connection that has just ended does not hold the port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            in_use = error.errno == errno.EADDRINUSE
            return Finding(
                name=name,
                commands=commands,
                state=FindingState.LIMITED,
                detail=f"{address}: {error.strerror}",
                remedy="stop what listens there, or choose another port" if in_use else "run it as a service",
            )
    return Finding(name=name, commands=commands, state=FindingState.OK, detail=f"free on {address}")
