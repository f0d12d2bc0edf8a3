"""The whole probe, over a network that is faked where it sends and where it fetches."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface
from typing import Any

import pytest
from support.boot_binaries import build_ipxe
from support.pxe_messages import OTHER, PROXY, ROUTER, client_of, lease, proxy

from ectools.netboot.probe import run
from ectools.netboot.probe.clients.client import Client
from ectools.netboot.probe.clients.exchange import Line, Offers
from ectools.netboot.probe.diagnose.trace import BootOutcome
from ectools.netboot.probe.faults import FaultCode, Severity
from ectools.netboot.probe.report import ProbeReport
from ectools.netboot.probe.run import ProbeRequest, run_probe
from ectools.netboot.probe.simulate.fetcher import Fetched, FetchState
from ectools.netboot.probe.wire.offers import Answer
from ectools.netboot.probe.wire.packet_socket import Host, Interface

MAC = bytes.fromhex("020000000001")
HERE = IPv4Address("192.0.2.9")
ETH0 = Interface(name="eth0", index=7, mac=MAC, up=True, addresses=(IPv4Interface("192.0.2.9/24"),))
SCRIPT = b"#!ipxe\nkernel http://192.0.2.2/k\nsha256sum --set d k\niseq ${d} 0 || reboot\nboot\n"
FILES = {
    "tftp://192.0.2.2/ec-ipxe.efi": build_ipxe(),
    "tftp://192.0.2.2/autoexec.ipxe": SCRIPT,
    "http://192.0.2.2/k": b"k",
}


class World:
    """This host, its network and what is served there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.interface = ETH0
        self.answers: tuple[Answer, ...] = (lease(siaddr=PROXY, file="ec-ipxe.efi"),)
        self.notes: tuple[str, ...] = ()
        self.listens = False
        self.lines: list[Line] = []
        self.clients: list[Client] = []
        self.asked: list[tuple[Client, IPv4Address, int | None]] = []
        self.fetched: list[str] = []
        self.leases: list[tuple[Client, Answer]] = []
        self.told: list[str] = []
        monkeypatch.setattr(run, "find_host", self._find_host)
        monkeypatch.setattr(run, "listens_here", lambda port: self.listens and port == 67)
        monkeypatch.setattr(run, "discover", self._discover)
        monkeypatch.setattr(run, "ask_boot_server", self._ask)
        monkeypatch.setattr(run, "hold_lease", self._hold_lease)
        monkeypatch.setattr(run, "Fetcher", self._make_fetcher)

    def _find_host(self) -> Host:
        return Host(interfaces=(self.interface,), local=frozenset({HERE}), gateway_interface="eth0")

    def _discover(self, line: Line, clients: Sequence[Client]) -> Offers:
        self.lines.append(line)
        self.clients = list(clients)
        return Offers(offers=dict.fromkeys(clients, self.answers), notes=self.notes)

    def _ask(self, _line: Line, client: Client, server: IPv4Address, item: int | None) -> Answer | None:
        self.asked.append((client, server, item))
        return None

    @contextlib.contextmanager
    def _hold_lease(self, _line: Line, client: Client, offer: Answer) -> Iterator[IPv4Interface]:
        self.leases.append((client, offer))
        yield IPv4Interface("192.0.2.50/24")
        self.told.append("given back")

    def _make_fetcher(self, line: Line) -> Any:
        self.lines.append(line)
        world = self

        class Fetching:
            def __call__(
                self,
                uri: str,
                _headers: Mapping[str, str] | None = None,
                limit: int = 65536,
                names: object = None,
            ) -> Fetched:
                world.fetched.append(uri)
                data = FILES.get(uri)
                if data is None:
                    return Fetched(uri=uri, state=FetchState.MISSING, detail="none")
                return Fetched(uri=uri, state=FetchState.FOUND, head=data[:limit], whole=True)

            def find_digest(self, _uri: str, _headers: Mapping[str, str], names: object = None) -> str:
                return "1"

        return Fetching()

    def probe(self, **request: Any) -> ProbeReport:
        return run_probe(ProbeRequest(**{"architectures": (7,), **request}), on_progress=self.told.append)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def outcomes(report: ProbeReport) -> list[BootOutcome]:
    return [each.outcome for each in report.boot_traces]


def codes(report: ProbeReport) -> list[FaultCode]:
    return [fault.code for fault in report.faults]


def test_the_whole_way(world: World) -> None:
    report = world.probe(seconds=2.5)
    assert outcomes(report) == [BootOutcome.BOOTS]
    assert (report.interface, report.mac, report.address, report.seconds) == (
        "eth0",
        "02:00:00:00:00:01",
        "192.0.2.9/24",
        2.5,
    )
    assert (report.faults, report.notes) == ((), ())
    assert world.clients == [client_of(7), client_of(7, ipxe=True)]
    asked, fetching = world.lines
    assert asked == fetching
    assert (asked.mac, asked.seconds, asked.local, asked.answers_here) == (MAC, 2.5, {HERE}, False)
    assert world.told == [
        "eth0: asking as 2 clients, for 2.5 s",
        "7 x64 UEFI: following what it is offered",
    ]


def test_all_architectures_and_each_client_once(world: World) -> None:
    report = world.probe(architectures=())
    assert [each.architecture.number for each in report.boot_traces] == [0, 6, 7, 9, 11, 16, 19]
    assert len(world.clients) == len(set(world.clients)) == 11
    assert world.told[0] == "eth0: asking as 11 clients, for 5 s"
    # Nobody asked for them by number, and one does boot.
    assert {fault.severity for fault in report.faults if fault.code is FaultCode.WRONG_ARCHITECTURE} == {
        Severity.WARNING
    }
    asked_for = world.probe(architectures=(0, 7))
    assert [each.architecture.number for each in asked_for.boot_traces] == [0, 7]
    assert [fault.severity for fault in asked_for.faults] == [Severity.ERROR]


def test_another_mac_and_another_interface(world: World) -> None:
    report = world.probe(mac=b"\2\0\0\0\0\2", interface="eth0")
    assert report.mac == "02:00:00:00:00:02"
    assert world.lines[0].mac == b"\2\0\0\0\0\2"


def test_digests_are_compared_where_that_is_wanted(world: World) -> None:
    assert codes(world.probe(verify=True)) == [FaultCode.WRONG_SHA256]
    assert codes(world.probe(verify=False)) == []
    assert codes(world.probe()) == []


def test_without_fetching(world: World) -> None:
    report = world.probe(fetch=False, lease=True, verify=True)
    assert (outcomes(report), world.fetched) == ([BootOutcome.UNKNOWN], [])
    assert report.notes == ("no file was asked for (--no-fetch): whether they are there is not known",)


def test_port_4011_is_asked_as_the_client_that_comes_to_it(world: World) -> None:
    world.answers = (lease(), proxy(siaddr=PROXY))
    assert codes(world.probe()) == [FaultCode.MISSING_4011]
    assert world.asked == [(client_of(7), PROXY, None)]


def test_faults_of_the_network_come_first(world: World) -> None:
    world.answers = (lease(file="none"), lease(OTHER))
    world.notes = ("a note",)
    report = world.probe()
    assert codes(report) == [FaultCode.TWO_DHCP_SERVERS, FaultCode.FILE_MISSING_TFTP]
    assert report.notes == ("a note",)
    world.answers = ()
    report = world.probe()
    assert "no DHCP server offers an address on eth0" in report.faults[0].message


def test_a_server_on_this_host_is_a_limit(world: World) -> None:
    world.listens = True
    (note,) = world.probe().notes
    assert "runs on this host" in note
    assert world.lines[0].answers_here


# An interface without an address


@pytest.fixture
def bare(world: World) -> World:
    world.interface = replace(ETH0, addresses=())
    return world


def test_without_an_address_nothing_is_asked_and_that_is_told(bare: World) -> None:
    bare.answers = (lease(), proxy(siaddr=PROXY))
    report = bare.probe()
    assert (report.address, bare.asked, bare.leases) == (None, [], [])
    assert report.notes == (
        (
            "eth0 has no IPv4 address: neither port 4011 nor files can be asked; --lease takes an address for"
            " the time of the probe"
        ),
    )
    assert bare.probe(fetch=False).notes[0].startswith("no file was asked for")


def test_a_lease_gives_one_for_the_time_of_the_probe(bare: World) -> None:
    bare.answers = (proxy(siaddr=PROXY), lease(siaddr=PROXY, file="ec-ipxe.efi"), lease(OTHER))
    report = bare.probe(lease=True)
    assert report.address == "192.0.2.50/24"
    assert report.notes == ()
    assert bare.leases == [(client_of(7), bare.answers[1])]
    line = bare.lines[1]
    assert line.interface.addresses == (IPv4Interface("192.0.2.50/24"),)
    assert line.local == {HERE, IPv4Address("192.0.2.50")}
    assert bare.told[-1] == "given back"


@pytest.mark.parametrize(
    ("answers", "request_", "address"),
    [
        # There is none to be had.
        ((proxy(),), {"lease": True}, None),
        # Nothing would be done with it.
        ((lease(ROUTER),), {"lease": True, "fetch": False}, None),
        ((lease(ROUTER),), {"lease": False}, None),
    ],
)
def test_no_lease_is_taken(
    bare: World, answers: tuple[Answer, ...], request_: dict[str, Any], address: str | None
) -> None:
    bare.answers = answers
    report = bare.probe(**request_)
    assert (bare.leases, report.address) == ([], address)


def test_an_address_that_is_there_is_used(world: World) -> None:
    assert world.probe(lease=True).address == "192.0.2.9/24"
    assert world.leases == []


def test_progress_need_not_be_heard(world: World) -> None:
    assert outcomes(run_probe(ProbeRequest(architectures=(7,)))) == [BootOutcome.BOOTS]
    assert world.told == []


def test_the_defaults_of_a_request() -> None:
    request = ProbeRequest()
    assert (request.interface, request.architectures, request.seconds, request.mac) == (None, (), 5.0, None)
    assert (request.fetch, request.lease, request.verify) == (True, False, False)


def test_architectures_are_followed_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is silent for one holds up no other: all are in it before one is through."""
    import threading

    barrier = threading.Barrier(3)
    genuine: Callable[..., Any] = run.follow_client

    def follow(*arguments: Any, **options: Any) -> Any:
        barrier.wait(30)
        return genuine(*arguments, **options)

    monkeypatch.setattr(run, "follow_client", follow)
    assert len(world.probe(architectures=(0, 7, 11)).boot_traces) == 3
