"""Each rule at its limit: what is taken, and what is said of what is not."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

import pytest

from ectools.netboot.settings import checks
from ectools.parsing import BadValueError, ListenAddress

if TYPE_CHECKING:
    from collections.abc import Callable


def show(part: object) -> str:
    return getattr(part, "__name__", repr(part))[:40]


LABEL = "a" * 63
URL_FORM = (
    "an absolute URL of RFC 3986's characters, http, https or tftp: https://boot.example.org/netboot.ipxe"
)
HOSTNAME = "a host name, or an IPv4 address: 192.0.2.10"
LISTEN_IP = "an IPv4 address of this host: 192.0.2.10"
LISTEN = "an address and a port: 127.0.0.1:9090, [::1]:9090"
INTERFACE = "the name of an interface: enp3s0"
NETWORK = "a network: 192.0.2.0/24, 2001:db8::/32"
TAG = "the name of a tag: boot-v2026.03.02"
ARTIFACT = "a file name, with * and ?"
MIRROR = "a URL without query and fragment, because paths are appended to it"

TAKEN: list[tuple[Callable[[Any], object], list[Any]]] = [
    (checks.check_interface, ["e", "a" * 15, "br-lan", "enp3s0.7", "eth0:1", "wg0@if3", "_x"]),
    (
        checks.check_hostname,
        [
            *("192.0.2.10", "boot", "boot.every.channel", "3com.example.org", "a-b", "10.1a", "0x7f"),
            *(LABEL, f"{LABEL}.{LABEL}", ".".join([LABEL, LABEL, LABEL, "a" * 61])),
        ],
    ),
    (checks.check_http_port, [1, 65535]),
    (checks.check_host_url, ["https://git.example.org", "http://[2001:db8::1]:1/forge", "https://h:65535"]),
    (checks.check_tag, ["boot-v2026.03.02", "1", "a/b", "v1+a_b"]),
    (checks.check_artifact, ["*", "ec-*.tar.*", "a b", "é"]),
    (checks.check_remote_url, ["https://a/b?c#d", "http://[2001:db8::1]:65535/x", "tftp://a/x"]),
]


@pytest.mark.parametrize(
    ("rule", "value"), [(rule, value) for rule, values in TAKEN for value in values], ids=show
)
def test_what_is_taken(rule: Callable[[Any], object], value: Any) -> None:
    rule(value)


PARSED: list[tuple[Callable[[str], object], str, object]] = [
    (checks.parse_listen_ip, "192.0.2.10", ipaddress.IPv4Address("192.0.2.10")),
    (checks.parse_listen_ip, "223.255.255.255", ipaddress.IPv4Address("223.255.255.255")),
    (checks.parse_listen_ip, "0.0.0.1", ipaddress.IPv4Address("0.0.0.1")),
    (checks.parse_mirror, "http://a", "http://a"),
    (checks.parse_mirror, "https://a/b//", "https://a/b"),
    (checks.parse_network, "192.0.2.0/24", ipaddress.IPv4Network("192.0.2.0/24")),
    (checks.parse_network, "192.0.2.1", ipaddress.IPv4Network("192.0.2.1/32")),
    (checks.parse_network, "2001:db8::/32", ipaddress.IPv6Network("2001:db8::/32")),
    (checks.parse_subnet, "192.0.2.0/24", ipaddress.IPv4Network("192.0.2.0/24")),
    (checks.parse_listen, "127.0.0.1:1", ListenAddress(ip=ipaddress.IPv4Address("127.0.0.1"), port=1)),
    (checks.parse_listen, "0.0.0.0:65535", ListenAddress(ip=ipaddress.IPv4Address(0), port=65535)),
    (checks.parse_listen, "[::1]:9090", ListenAddress(ip=ipaddress.IPv6Address("::1"), port=9090)),
]


@pytest.mark.parametrize(("rule", "text", "value"), PARSED)
def test_what_is_made_of_it(rule: Callable[[str], object], text: str, value: object) -> None:
    assert rule(text) == value


REJECTED: list[tuple[Callable[[Any], object], str, str, list[Any]]] = [
    (
        checks.parse_listen_ip,
        "not usable",
        LISTEN_IP,
        ["", "192.0.2.256", "0.0.0.0", "224.0.0.0", "239.255.255.255", "::1", "a"],
    ),
    (checks.check_interface, "not usable", INTERFACE, ["", "a" * 16, "a b", "a/b", "é", "a\n"]),
    (
        checks.check_hostname,
        "not usable",
        HOSTNAME,
        [
            *("", "10.1", "1", "192.0.2.256", "a.1", "a;shell", "${ip}", "-a", "a-", "a..b", "a.", "a_b"),
            *("a\n", "é", f"{LABEL}a", ".".join([LABEL, LABEL, LABEL, "a" * 62])),
        ],
    ),
    (checks.check_http_port, "not usable", "the port that clients are sent to: 8080", [0]),
    (checks.parse_mirror, "not usable", URL_FORM, ["", "ftp://a/b", "http://a b", "a/b"]),
    (
        checks.parse_mirror,
        "not usable",
        "an http or https URL: https://cache.example.org/netboot",
        ["tftp://a/b"],
    ),
    (checks.parse_mirror, "not usable", MIRROR, ["http://a/b?c", "http://a/b#c"]),
    (checks.check_remote_url, "not usable", URL_FORM, ["", "ftp://a/b", "http://a:0/", "http://a/\n"]),
    (
        checks.parse_network,
        "has bits set behind the prefix",
        "192.0.2.0/24, or an address alone",
        ["192.0.2.1/24"],
    ),
    (
        checks.parse_network,
        "has bits set behind the prefix",
        "fe80::/10, or an address alone",
        ["fe80::1/10"],
    ),
    (checks.parse_network, "not usable", NETWORK, ["", "::/129", "192.0.2.0/33", "a"]),
    (checks.parse_subnet, "not usable", "192.0.2.0/24", ["192.0.2.9/24"]),
    (checks.parse_subnet, "not usable", "a network: 192.0.2.0/24", ["192.0.2.0/33", "2001:db8::/32", ""]),
    (checks.check_tag, "not usable", TAG, ["", "../a", "-a", "a b", "a\n", "a?b", "é"]),
    (
        checks.check_host_url,
        "not usable",
        "an http or https URL, with a port from 1 to 65535: https://git.example.org:3000",
        ["https://h:99999", "https://h:0", "https://h:x", "https://["],
    ),
    (
        checks.parse_nats_servers,
        "not usable",
        "URLs: nats://192.0.2.5:4222, tls://nats.example.org:4222",
        ["nats://h:0", "nats://h:65536", "nats://u@h", "http://h", "nats://h,"],
    ),
    (checks.check_artifact, "not usable", ARTIFACT, ["", "a/b", "a\0"]),
    (
        checks.parse_listen,
        "not usable",
        LISTEN,
        [
            *("", "127.0.0.1", ":9090", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:-1"),
            *("[127.0.0.1]:9090", "::1:9090", "[::1]", "localhost:9090", "256.0.0.1:9090", "127.0.0.1: 9"),
        ],
    ),
]


@pytest.mark.parametrize(
    ("rule", "message", "expected", "value"),
    [(rule, message, expected, value) for rule, message, expected, values in REJECTED for value in values],
    ids=show,
)
def test_what_is_said_of_what_is_rejected(
    rule: Callable[[Any], object], message: str, expected: str, value: Any
) -> None:
    with pytest.raises(BadValueError) as caught:
        rule(value)
    assert (caught.value.message, caught.value.expected) == (message, expected)


@pytest.mark.parametrize("rule", [checks.parse_mirror, checks.check_remote_url])
@pytest.mark.parametrize("url", ["http://u:pa55@a/", "http://u:pa55\n@a/", "http://u:pa55@b@a/"])
def test_no_password_is_shown(rule: Callable[[str], object], url: str) -> None:
    with pytest.raises(BadValueError) as caught:
        rule(url)
    assert caught.value.shown == "http://***@a/"
    assert "pa55" not in str(caught.value) + caught.value.expected


def test_the_options_that_take_a_secret_are_named() -> None:
    with pytest.raises(BadValueError) as caught:
        checks.parse_mirror("http://u:p@a/")
    assert "chainTokenFile names a secret" in caught.value.expected
    with pytest.raises(BadValueError) as caught:
        checks.check_remote_url("http://u:p@a/")
    assert "no option: the binary has to be public, and it names a secret" in caught.value.expected
