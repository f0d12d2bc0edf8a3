"""What a schema cannot say of one value: what no service, no client and no URL takes.

A rule raises BadValueError (ectools/parsing.py). None looks at the machine.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ectools.parsing import BadValueError, ListenAddress, check_boot_url

if TYPE_CHECKING:
    from ectools.addresses import Network

# RFC 1123, section 2.1. What it lets through can stand in a URL, in a script and in dnsmasq's configuration.
_HOSTNAME = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
    r"(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*",
    re.ASCII,
)
_INTERFACE = re.compile(r"[A-Za-z0-9_.:@-]{1,15}", re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+/-]*")
_FILE_NAME = re.compile(r"[^/\0]+")
# This network, loopback, multicast, reserved (RFC 6890, RFC 5771); and of a /31 this host has one address.
_WITHOUT_CLIENTS = tuple(
    map(ipaddress.IPv4Network, ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4"))
)
_LONGEST_PREFIX = 30
# As the Internet Assigned Numbers Authority has it.
_NATS_PORT = 4222


def parse_listen_ip(text: str) -> ipaddress.IPv4Address:
    """An address that a server can have."""
    address = _parse_ipv4(text)
    if address is None or address.is_multicast or address.is_unspecified:
        raise BadValueError("an IPv4 address of this host: 192.0.2.10")
    return address


def check_interface(name: str) -> None:
    """The name of a network interface, or of its alias."""
    if _INTERFACE.fullmatch(name) is None:
        raise BadValueError("the name of an interface: enp3s0")


def check_hostname(name: str) -> None:
    """A host name or an IPv4 address; what looks like an address has to be one: 10.1 would be a host name."""
    looks_like_address = name.rpartition(".")[2].isdecimal()
    if _HOSTNAME.fullmatch(name) is None or (looks_like_address and _parse_ipv4(name) is None):
        raise BadValueError("a host name, or an IPv4 address: 192.0.2.10")


def _parse_ipv4(text: str) -> ipaddress.IPv4Address | None:
    try:
        return ipaddress.IPv4Address(text)
    except ValueError:
        return None


def check_http_port(port: int) -> None:
    """A port that scripts can name: they are written before the server is bound."""
    if port == 0:
        raise BadValueError("the port that clients are sent to: 8080")


def parse_mirror(url: str) -> str:
    """A URL that paths are appended to, without a slash at its end."""
    check_boot_url(url, instead="chainTokenFile")
    if urlsplit(url).scheme not in {"http", "https"}:
        raise BadValueError("an http or https URL: https://cache.example.org/netboot")
    if "?" in url or "#" in url:
        raise BadValueError("a URL without query and fragment, because paths are appended to it")
    return url.rstrip("/")


def check_host_url(url: str) -> None:
    """The URL of a forge, whose form the schema has seen: what is left is its port."""
    try:
        is_good = urlsplit(url).port != 0
    except ValueError:
        is_good = False
    if not is_good:
        raise BadValueError("an http or https URL, with a port from 1 to 65535: https://git.example.org:3000")


def check_remote_url(url: str) -> None:
    """The URL of a boot binary."""
    check_boot_url(url, instead="no option: the binary has to be public, and it")


def parse_network(text: str) -> Network:
    """A network, or an address alone."""
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        pass
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise BadValueError("a network: 192.0.2.0/24, 2001:db8::/32") from None
    raise BadValueError(f"{network}, or an address alone", message="has bits set behind the prefix")


def parse_subnet(text: str) -> ipaddress.IPv4Network:
    """An IPv4 network that has clients: dnsmasq answers nobody of 0.0.0.0/0."""
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError:
        pass
    else:
        if not 0 < network.prefixlen <= _LONGEST_PREFIX or any(
            network.network_address in each for each in _WITHOUT_CLIENTS
        ):
            raise BadValueError("the clients' network: 192.0.2.0/24", message="no client is in it")
        return network
    try:
        expected = str(ipaddress.IPv4Network(text, strict=False))
    except ValueError:
        expected = "a network: 192.0.2.0/24"
    raise BadValueError(expected)


def check_tag(tag: str) -> None:
    """A release's tag, as it can stand in a URL."""
    if _TAG.fullmatch(tag) is None:
        raise BadValueError("the name of a tag: boot-v2026.03.02")


def check_artifact(glob: str) -> None:
    """A pattern of a file's name."""
    if _FILE_NAME.fullmatch(glob) is None:
        raise BadValueError("a file name, with * and ?")


def parse_nats_servers(text: str) -> tuple[str, ...]:
    """URLs, each with a port: ``nats://192.0.2.5``, ``tls://nats.example.org:4222``, joined by commas."""
    servers = []
    for each in text.split(","):
        try:
            url = urlsplit(each)
            if url.scheme not in ("nats", "tls") or not url.hostname or "@" in each or url.port == 0:
                raise ValueError(each)
            host = f"[{ipaddress.IPv6Address(url.hostname)}]" if ":" in url.hostname else url.hostname
            servers.append(f"{url.scheme}://{host}:{url.port or _NATS_PORT}")
        except ValueError:
            raise BadValueError("URLs: nats://192.0.2.5:4222, tls://nats.example.org:4222") from None
    return tuple(servers)


def parse_listen(text: str) -> ListenAddress:
    """``127.0.0.1:9090``, or ``[::1]:9090``."""
    ip, _, port = text.rpartition(":")
    bare = ip.removeprefix("[").removesuffix("]")
    try:
        if (":" in bare) != (ip != bare) or not port.isdecimal() or not 1 <= int(port) <= 65535:
            raise ValueError(text)
        return ListenAddress(ip=ipaddress.ip_address(bare), port=int(port))
    except ValueError:
        raise BadValueError("an address and a port: 127.0.0.1:9090, [::1]:9090") from None
