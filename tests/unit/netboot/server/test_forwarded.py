"""Whose request it is, when others may have asked for somebody."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from ectools.netboot.server.forwarded import (
    Networks,
    find_client,
    parse_address,
    parse_forwarded,
    parse_x_forwarded_for,
)

PROXY, OTHER_PROXY = "192.0.2.1", "2001:db8::1"
PROXIES = Networks([ipaddress.ip_network(PROXY), ipaddress.ip_network("2001:db8::/64")])


def client_of(peer: str, *headers: tuple[str, str]) -> str | None:
    client = find_client(peer, CIMultiDict(headers), proxies=PROXIES)
    return None if client is None else str(client)


@pytest.mark.parametrize(
    ("value", "hops"),
    [
        ("for=192.0.2.43", ["192.0.2.43"]),
        ("For=192.0.2.43:47011", ["192.0.2.43"]),
        ('for="[2001:db8:cafe::17]:4711"', ["2001:db8:cafe::17"]),
        ("for=[2001:db8::17]", ["2001:db8::17"]),
        ('for="\\1\\92.0.2.4\\3"', ["192.0.2.43"]),
        ("for=192.0.2.43;proto=http;by=203.0.113.43", ["192.0.2.43"]),
        ("proto=http;for=192.0.2.43", ["192.0.2.43"]),
        ("for=192.0.2.43, for=198.51.100.17", ["192.0.2.43", "198.51.100.17"]),
        ('for=192.0.2.43,for="[2001:db8::17]";by=x , for=unknown', ["192.0.2.43", "2001:db8::17", None]),
        (" , for=192.0.2.43 ,, ", ["192.0.2.43"]),
        ("for=::ffff:192.0.2.43", ["192.0.2.43"]),
        ('for="_hidden", for=_SEVKISEK', [None, None]),
        ("proto=http", [None]),
        ("for=192.0.2.43;for=192.0.2.44", [None]),
        ("for=boot.example", [None]),
        ("for=192.0.2.043", [None]),
        ("for=", [None]),
        ("for", [None]),
        ("192.0.2.43", [None]),
        ("for=192.0.2.43;", [None]),
        ('for="192.0.2.43', [None]),
        ('for="a, for=192.0.2.43"', [None]),
        ("for=192.0.2.43 192.0.2.44", [None]),
        ("", []),
        (" ,, ", []),
    ],
)
def test_forwarded(value: str, hops: list[str | None]) -> None:
    assert [None if hop is None else str(hop) for hop in parse_forwarded(value)] == hops


@pytest.mark.parametrize(
    ("value", "hops"),
    [
        ("192.0.2.43", ["192.0.2.43"]),
        ("192.0.2.43:80,2001:db8::17 , [2001:db8::18]:443", ["192.0.2.43", "2001:db8::17", "2001:db8::18"]),
        (", 192.0.2.43,,", ["192.0.2.43"]),
        ("unknown, 192.0.2.43", [None, "192.0.2.43"]),
        ("192.0.2.43%eth0", [None]),
        ("٣.0.2.43", [None]),
    ],
)
def test_x_forwarded_for(value: str, hops: list[str | None]) -> None:
    assert [None if hop is None else str(hop) for hop in parse_x_forwarded_for(value)] == hops


@given(st.text(max_size=200))
def test_whatever_the_headers_hold_they_are_read(value: str) -> None:
    for hop in (*parse_forwarded(value), *parse_x_forwarded_for(value)):
        assert hop is None or str(hop)


def test_a_long_header_is_read_in_time() -> None:
    for value in ("for=" * 2000, 'for="' + '\\"' * 4000, "a=b;" * 2000, " " * 8000 + "x", "for=1,\t" * 1500):
        parse_forwarded(value)
        parse_x_forwarded_for(value)


@pytest.mark.parametrize(
    ("peer", "headers", "client"),
    [
        # From anyone but a trusted proxy they mean nothing.
        ("198.51.100.9", [("X-Forwarded-For", "10.0.0.1")], "198.51.100.9"),
        ("198.51.100.9", [("Forwarded", "for=10.0.0.1")], "198.51.100.9"),
        (PROXY, [], PROXY),
        (PROXY, [("X-Forwarded-For", "10.0.0.1")], "10.0.0.1"),
        (f"::ffff:{PROXY}", [("X-Forwarded-For", "10.0.0.1")], "10.0.0.1"),
        # What stands left of the first address that is no proxy's is the client's own invention.
        (PROXY, [("X-Forwarded-For", "10.0.0.1, 198.51.100.9")], "198.51.100.9"),
        (PROXY, [("X-Forwarded-For", f"10.0.0.1, 198.51.100.9, {OTHER_PROXY}")], "198.51.100.9"),
        (PROXY, [("X-Forwarded-For", "10.0.0.1"), ("X-Forwarded-For", "198.51.100.9")], "198.51.100.9"),
        (PROXY, [("Forwarded", "for=10.0.0.1, for=198.51.100.9")], "198.51.100.9"),
        (PROXY, [("X-Forwarded-For", f"{PROXY}, {PROXY}")], PROXY),
        (PROXY, [("Forwarded", "for=unknown")], None),
        (PROXY, [("Forwarded", "for=10.0.0.1, for=unknown")], None),
        (PROXY, [("X-Forwarded-For", "10.0.0.1, nonsense")], None),
        # One of two that disagree is an invention.
        (PROXY, [("Forwarded", "for=10.0.0.1"), ("X-Forwarded-For", "198.51.100.9")], None),
        (PROXY, [("Forwarded", "for=10.0.0.1"), ("X-Forwarded-For", "10.0.0.1")], "10.0.0.1"),
        (PROXY, [("Forwarded", ""), ("X-Forwarded-For", "10.0.0.1")], "10.0.0.1"),
        ("", [("X-Forwarded-For", "10.0.0.1")], None),
    ],
)
def test_the_client(peer: str, headers: list[tuple[str, str]], client: str | None) -> None:
    assert client_of(peer, *headers) == client


@given(
    st.lists(st.ip_addresses(), max_size=4),
    st.ip_addresses().filter(lambda address: address not in PROXIES),
    st.lists(st.sampled_from([PROXY, OTHER_PROXY]), max_size=3),
)
def test_what_a_client_invents_changes_nothing(
    invented: list[ipaddress.IPv4Address], client: ipaddress.IPv4Address, proxies: list[str]
) -> None:
    truth = [str(client), *proxies]
    header = ", ".join([*map(str, invented), *truth])
    assert client_of(PROXY, ("X-Forwarded-For", header)) == str(parse_address(str(client)))


def test_mapped_addresses_and_networks_are_ipv4() -> None:
    networks = Networks([ipaddress.ip_network("::ffff:192.0.2.0/120"), ipaddress.ip_network("10.0.0.0/8")])
    for text in ("192.0.2.7", "::ffff:192.0.2.7", "::ffff:c000:0207", "::ffff:10.1.2.3"):
        address = parse_address(text)
        assert address is not None
        assert address in networks
    for text in ("192.0.3.7", "::192.0.2.7", "64:ff9b::192.0.2.7", "::ffff:0:192.0.2.7", "2002:c000:207::"):
        address = parse_address(text)
        assert address is not None
        assert address not in networks
    anyone = Networks([ipaddress.ip_network("::/0")])
    mapped = parse_address("::ffff:192.0.2.7")
    assert mapped is not None
    assert mapped not in anyone


@pytest.mark.parametrize(
    ("value", "hops"),
    [
        ("for=192.0.2.43; proto=http", ["192.0.2.43"]),
        ("FOR=192.0.2.43", ["192.0.2.43"]),
        ("for=192.0.2.43;host=a, host=b", ["192.0.2.43", None]),
        ("for=192.0.2.43:_port", ["192.0.2.43"]),
        ("\tfor=192.0.2.43\t", ["192.0.2.43"]),
        ("for=192.0.2.43,", ["192.0.2.43"]),
        (",for=192.0.2.43", ["192.0.2.43"]),
        ("for=192.0.2.43;;by=x", [None]),
        ("for=192.0.2.43;,for=192.0.2.44", [None]),
        ("for=192.0.2.43,for", [None]),
        ("for=192.0.2.43,for=192.0.2.44;for=192.0.2.45", ["192.0.2.43", None]),
        ('for=""', [None]),
        ('for="192.0.2.43";by="a,b", for=192.0.2.44', ["192.0.2.43", "192.0.2.44"]),
        ("forx=192.0.2.43", [None]),
        ("for=[2001:db8::17]:80", ["2001:db8::17"]),
        ("for=[192.0.2.43]", ["192.0.2.43"]),
        ("for=2001:db8::17", ["2001:db8::17"]),
        ("for=[2001:db8::17", [None]),
        ("for=[::ffff:192.0.2.43]", ["192.0.2.43"]),
    ],
)
def test_forwarded_in_detail(value: str, hops: list[str | None]) -> None:
    assert [None if hop is None else str(hop) for hop in parse_forwarded(value)] == hops


def test_a_set_of_networks() -> None:
    assert not Networks([])
    assert Networks([ipaddress.ip_network("::/0")])
    assert ipaddress.ip_address("192.0.2.7") not in Networks([])
    networks = Networks([ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("2001:db8::/32")])
    for text, inside in (
        ("10.255.255.255", True),
        ("11.0.0.0", False),
        ("9.255.255.255", False),
        ("2001:db8:ffff::", True),
        ("2001:db9::", False),
        ("::a00:1", False),  # 10.0.0.1's number
    ):
        assert (ipaddress.ip_address(text) in networks) is inside


@pytest.mark.parametrize(
    ("network", "address", "inside"),
    [
        ("::ffff:0:0/96", "203.0.113.5", True),
        ("::ffff:192.0.2.0/120", "192.0.2.255", True),
        ("::ffff:192.0.2.0/120", "192.0.3.0", False),
        ("::ffff:192.0.2.7/128", "192.0.2.7", True),
        ("::fffe:0:0/95", "192.0.2.7", False),
    ],
)
def test_mapped_networks(network: str, address: str, inside: bool) -> None:
    assert (ipaddress.ip_address(address) in Networks([ipaddress.ip_network(network)])) is inside


@pytest.mark.parametrize(("text", "address"), [("192.0.2.7", "192.0.2.7"), ("::ffff:1.2.3.4", "1.2.3.4")])
def test_addresses(text: str, address: str) -> None:
    assert str(parse_address(text)) == address
    assert parse_address(text + "x") is None


@pytest.mark.parametrize(
    ("headers", "client"),
    [
        # Where all are trusted, the one that asked first.
        ([("X-Forwarded-For", f"{OTHER_PROXY}, {PROXY}")], OTHER_PROXY),
        ([("Forwarded", "for=10.0.0.1"), ("Forwarded", "for=198.51.100.9")], "198.51.100.9"),
        ([("Forwarded", "for=unknown"), ("X-Forwarded-For", "nobody")], None),
        ([("Forwarded", "for=unknown"), ("X-Forwarded-For", "10.0.0.1")], None),
        ([("Forwarded", ""), ("X-Forwarded-For", "")], PROXY),
    ],
)
def test_more_clients(headers: list[tuple[str, str]], client: str | None) -> None:
    assert client_of(PROXY, *headers) == client
