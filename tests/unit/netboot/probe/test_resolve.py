"""Names, resolved as a node resolves them: by the servers of its offer, asked one after the other."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface
from types import SimpleNamespace

import pytest
from support.pxe_messages import PROXY, ROUTER, lease, proxy

from ectools.netboot.probe.clients.exchange import Line
from ectools.netboot.probe.faults import FaultCode
from ectools.netboot.probe.simulate import resolve
from ectools.netboot.probe.simulate.resolve import (
    NO_NAME_SERVERS,
    NameServers,
    Resolver,
    find_name_servers,
    parse_name_servers,
)
from ectools.netboot.probe.wire.dhcp import Option
from ectools.netboot.probe.wire.packet_socket import Interface, LinkError

LINE = Line(
    interface=Interface(
        name="eth0", index=7, mac=bytes(6), up=True, addresses=(IPv4Interface("192.0.2.9/24"),)
    ),
    mac=bytes(6),
    seconds=3.0,
    local=frozenset(),
    answers_here=False,
)
FIRST, SECOND = IPv4Address("192.0.2.53"), IPv4Address("192.0.2.54")
NAME = "boot.test"
Zone = dict[str, IPv4Address | str | int | bytes]
"""Name → its address, its alias, a response code, or a whole datagram."""


class World:
    """Name servers by their address, each with its zone; a clock that moves where the resolver waits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **zones: Zone) -> None:
        self.zones = {
            IPv4Address(name.removeprefix("at_").replace("_", ".")): zone for name, zone in zones.items()
        }
        self.asked: list[tuple[str, str]] = []
        self.now = 0.0
        monkeypatch.setattr(resolve, "time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(Line, "open_endpoint", lambda _line, server: Endpoint(self, server))

    def resolve(self, host: str, *servers: IPv4Address, search: tuple[str, ...] = ()) -> resolve.Resolution:
        return Resolver(LINE).resolve(host, NameServers(addresses=servers, search=search))


class Endpoint:
    def __init__(self, world: World, server: IPv4Address) -> None:
        self.world, self.server = world, server
        self.answers: list[bytes] = []

    def __enter__(self) -> Endpoint:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def send(self, payload: bytes, *, to: IPv4Address, port: int) -> None:
        assert (to, port) == (self.server, 53)
        name = ".".join(part.decode() for part in _split(payload[12:-5]))
        self.world.asked.append((str(to), name))
        zone = self.world.zones.get(to)
        if zone is None:
            return
        found = zone.get(name, 3)
        if isinstance(found, bytes):
            self.answers.append(found)
            return
        flags, records = 0x8180, b""
        if isinstance(found, IPv4Address):
            records = b"\xc0\x0c" + struct.pack("!2HIH", 1, 1, 60, 4) + found.packed
        elif isinstance(found, str):
            alias = b"".join(bytes((len(each),)) + each.encode() for each in found.split(".")) + b"\0"
            records = b"\xc0\x0c" + struct.pack("!2HIH", 5, 1, 60, len(alias)) + alias
        elif found:
            flags |= found
        head = payload[:2] + struct.pack("!5H", flags, 1, bool(records), 0, 0)
        self.answers.append(head + payload[12:] + records)

    def wait(self, seconds: float) -> Iterator[tuple[IPv4Address, int, bytes]]:
        answers, self.answers = self.answers, []
        for each in answers:
            # Another host's, and another port's, are no answers.
            yield IPv4Address("192.0.2.66"), 53, b"junk"
            yield self.server, 5353, b"junk"
            yield self.server, 53, each
        self.world.now += seconds


def _split(name: bytes) -> Iterator[bytes]:
    while name:
        yield name[1 : 1 + name[0]]
        name = name[1 + name[0] :]


def test_an_address_needs_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    assert world.resolve("192.0.2.7") == resolve.Resolution(address=IPv4Address("192.0.2.7"))
    assert world.asked == []


def test_a_name_without_a_server_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    found = World(monkeypatch).resolve("localhost")
    assert (found.address, found.fault) == (None, FaultCode.URL_WITHOUT_DNS)
    assert found.detail == "'localhost' is a name, and the DHCP offer names no DNS server (option 6)"


def test_the_first_server_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, at_192_0_2_53={NAME: PROXY}, at_192_0_2_54={NAME: ROUTER})
    found = world.resolve(NAME, FIRST, SECOND)
    assert found == resolve.Resolution(address=PROXY, detail="boot.test is 192.0.2.2 by 192.0.2.53")
    assert world.asked == [("192.0.2.53", NAME)]


def test_a_silent_server_is_passed_by(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, at_192_0_2_54={NAME: ROUTER})
    assert world.resolve(NAME, FIRST, SECOND).address == ROUTER
    assert world.asked == [("192.0.2.53", NAME)] * 3 + [("192.0.2.54", NAME)]
    silent = World(monkeypatch).resolve(NAME, FIRST, SECOND)
    assert silent.fault is FaultCode.NAME_UNRESOLVED
    assert "does not answer (192.0.2.53, 192.0.2.54)" in silent.detail


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (3, "'boot.test': no such name, says 192.0.2.53, the DNS server of the DHCP offer"),
        (5, "'boot.test': response code 5, says 192.0.2.53"),
        (0, "'boot.test': no IPv4 address, says 192.0.2.53"),
        ("other.test", "'boot.test': no such name, says 192.0.2.53"),
        (b"\0", "'boot.test' cannot be asked for, or not be read: 1 bytes: a DNS message has 12 at least"),
    ],
)
def test_a_word_that_is_no_address_is_the_last_one(
    monkeypatch: pytest.MonkeyPatch, answer: str | int | bytes, words: str
) -> None:
    """As in iPXE: another server is asked where one is silent alone."""
    world = World(monkeypatch, at_192_0_2_53={NAME: answer}, at_192_0_2_54={NAME: ROUTER})
    found = world.resolve(NAME, FIRST, SECOND)
    assert (found.address, found.fault) == (None, FaultCode.NAME_UNRESOLVED)
    assert words in found.detail
    assert {server for server, _ in world.asked} == {"192.0.2.53"}


def test_an_alias_without_its_address_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, at_192_0_2_53={NAME: "a.test", "a.test": "b.test", "b.test": PROXY})
    assert world.resolve(NAME, FIRST).address == PROXY
    round_ = World(monkeypatch, at_192_0_2_53={NAME: "a.test", "a.test": NAME})
    assert round_.resolve(NAME, FIRST).fault is FaultCode.NAME_UNRESOLVED


def test_a_name_without_a_dot_is_in_the_domains(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, at_192_0_2_53={"boot.b.test": PROXY, "boot": ROUTER})
    assert world.resolve("boot", FIRST, search=("a.test", "b.test")).address == PROXY
    assert [name for _, name in world.asked] == ["boot.a.test", "boot.b.test"]
    assert world.resolve("boot", FIRST).address == ROUTER
    assert world.resolve("boot.c.test", FIRST, search=("b.test",)).address is None
    assert world.asked[-1][1] == "boot.c.test"


def test_what_is_no_name_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    assert world.resolve("a..b", FIRST).detail.startswith("'a..b' cannot be asked for")
    assert world.asked == []


def test_a_name_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, at_192_0_2_53={NAME: PROXY})
    resolver = Resolver(LINE)
    names = NameServers(addresses=(FIRST,))
    assert resolver.resolve(NAME, names) is resolver.resolve(NAME, names)
    assert len(world.asked) == 1


def test_a_link_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    monkeypatch.setattr(Line, "open_endpoint", lambda *_: None)
    assert "does not answer" in world.resolve(NAME, FIRST).detail

    def fail(*_: object) -> None:
        raise LinkError("192.0.2.53: cannot send: No route to host")

    monkeypatch.setattr(Line, "open_endpoint", fail)
    found = world.resolve(NAME, FIRST)
    assert (found.fault, found.detail) == (
        FaultCode.NAME_UNRESOLVED,
        "'boot.test': 192.0.2.53: cannot send: No route to host",
    )


def test_the_servers_of_an_offer() -> None:
    options = {Option.DNS: FIRST.packed + SECOND.packed + b"\1", Option.DOMAIN: b"a.test\0"}
    expected = NameServers(addresses=(FIRST, SECOND), search=("a.test",))
    assert find_name_servers(None, lease(options=options)) == expected
    listed = {**options, Option.DOMAIN_SEARCH: b"\x01b\x04test\0\x01c\0"}
    assert find_name_servers(lease(options=listed)).search == ("b.test", "c")
    # The DHCP server's come before the proxy's.
    other = proxy(options={Option.DNS: ROUTER.packed})
    assert find_name_servers(lease(options=options), other) == expected
    assert find_name_servers(lease(options={Option.DOMAIN: b"a.test"}), other) == NameServers(
        addresses=(ROUTER,)
    )
    assert find_name_servers(lease(), None) == find_name_servers() == NO_NAME_SERVERS


@pytest.mark.parametrize("value", ["", "a.test", "192.0.2", "::1"])
def test_what_a_script_cannot_set(value: str) -> None:
    assert parse_name_servers(value) == NO_NAME_SERVERS


def test_what_a_script_sets() -> None:
    assert parse_name_servers("192.0.2.53") == NameServers(addresses=(FIRST,))
