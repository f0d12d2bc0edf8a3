"""The listening socket: bound here, or handed over by a parent that holds it across restarts."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import stat

from ectools.errors import EcError, InputError

BACKLOG = 4096
"""Connections that the kernel queues before they are accepted (it caps this at net.core.somaxconn)."""


class ListenError(EcError):
    """The address cannot be listened on; the message holds it and the system's reason."""


def bind_listener(ip: str, port: int) -> socket.socket:
    """A TCP socket that listens on ``ip`` (IPv4 or IPv6, no name) and ``port`` (0: one that is free).

    Raises InputError for what is no address or port, ListenError where the system refuses.
    """
    try:
        address = ipaddress.ip_address(ip)
    except ValueError as error:
        raise InputError(
            f"{ip}: not an IP address", hint="give an address such as 127.0.0.1, 0.0.0.0 or ::, not a name"
        ) from error
    if not 0 <= port <= 65535:
        raise InputError(f"port {port}: out of range", hint="expected 1 to 65535, or 0 for one that is free")
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # getaddrinfo, because the scope of a link-local IPv6 address is a number of the socket address.
        resolved = socket.getaddrinfo(
            ip, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )
        listener.bind(resolved[0][4])
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ListenError(
            f"{format_address(ip, port)}: cannot listen: {error.strerror or error}",
            hint=_hint(error.errno, port),
        ) from error
    return listener


def adopt_listener(descriptor: int) -> socket.socket:
    """The listening TCP socket that a parent passed as ``descriptor``; InputError where it is none."""
    what = f"--listen-fd {descriptor}"
    hint = "the parent must pass a bound and listening TCP socket, and name its descriptor"
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            raise InputError(f"{what}: not a socket", hint=hint)
        listener = socket.socket(fileno=descriptor)
    except OSError as error:
        raise InputError(f"{what}: {error.strerror or error}", hint=hint) from error
    if listener.family not in (socket.AF_INET, socket.AF_INET6) or listener.type != socket.SOCK_STREAM:
        listener.detach()
        raise InputError(f"{what}: not a TCP socket", hint=hint)
    if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        listener.detach()
        raise InputError(f"{what}: the socket is not listening", hint=hint)
    listener.set_inheritable(False)
    return listener


def format_address(ip: str, port: int) -> str:
    """``10.0.2.2:8080``, ``[::1]:8080``: the authority of a URL."""
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def plain_address(ip: str) -> str:
    """A peer's address as people write it: a socket on ``::`` sees 192.0.2.1 as ``::ffff:192.0.2.1``."""
    return ip.removeprefix("::ffff:")


def _hint(number: int | None, port: int) -> str | None:
    if number == errno.EADDRINUSE:
        return (
            f"another program holds the port (ss -ltnp 'sport = :{port}' names it); stop it or choose another"
        )
    if number == errno.EADDRNOTAVAIL:
        return "no interface has this address (ip address lists them); 0.0.0.0 stands for all of them"
    if number == errno.EACCES:
        return (
            "ports below 1024 need CAP_NET_BIND_SERVICE (a unit: AmbientCapabilities); or take a higher one"
        )
    return None
