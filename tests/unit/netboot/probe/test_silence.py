"""Why a TFTP server says nothing, by what else is seen of it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface

import pytest

from ectools.netboot.probe.clients.exchange import Line
from ectools.netboot.probe.faults import FaultCode
from ectools.netboot.probe.simulate.silence import Silence, explain_silence
from ectools.netboot.probe.wire.packet_socket import Interface, LinkError
from ectools.netboot.probe.wire.tftp import TftpReply

NEAR, FAR, OTHER = (IPv4Address(each) for each in ("192.0.2.2", "198.51.100.2", "192.0.2.3"))
LINE = Line(
    interface=Interface(
        name="eth0", index=7, mac=bytes(6), up=True, addresses=(IPv4Interface("192.0.2.9/24"),)
    ),
    mac=bytes(6),
    seconds=3.0,
    local=frozenset(),
    answers_here=False,
)


class Host:
    """A host that refuses an unused port after so many questions; 0: never."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, refuses_at: int = 0) -> None:
        self.refuses_at = refuses_at
        self.errors: set[int] = set()
        self.asked = 0
        monkeypatch.setattr(Line, "open_endpoint", lambda *_: self)

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def send(self, payload: bytes, *, to: IPv4Address, port: int) -> None:
        assert (payload, port) == (b"", 33434)
        self.asked += 1

    def wait(self, seconds: float) -> Iterator[object]:
        assert seconds == 1.0
        if self.asked == self.refuses_at:
            self.errors.add(errno.ECONNREFUSED)
        yield "what else comes"


def explain(server: IPv4Address, line: Line = LINE, **reply: object) -> Silence:
    return explain_silence(line, server, TftpReply(silent=True, **reply))  # type: ignore[arg-type]


def test_an_answer_from_another_address(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch)
    found = explain(NEAR, stranger=OTHER)
    assert (found.fault, found.remedy) == (FaultCode.TFTP_OTHER_ADDRESS, None)
    assert found.detail.startswith("192.0.2.3 answers in the place of 192.0.2.2, which was asked")
    assert host.asked == 0


def test_what_icmp_says_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch)
    refused = explain(FAR, errors=frozenset({errno.ECONNREFUSED}))
    assert (refused.fault, refused.detail) == (None, "no answer on UDP port 69: nobody listens there")
    assert refused.remedy is not None
    assert "start the TFTP server" in refused.remedy
    assert "firewall" not in refused.remedy
    unreachable = explain(FAR, errors=frozenset({errno.EHOSTUNREACH}))
    assert (unreachable.fault, unreachable.remedy) == (None, None)
    assert "the host cannot be reached" in unreachable.detail
    assert host.asked == 0


@pytest.mark.parametrize("refuses_at", [1, 3])
def test_an_answer_that_is_lost_between_the_networks(
    monkeypatch: pytest.MonkeyPatch, refuses_at: int
) -> None:
    host = Host(monkeypatch, refuses_at=refuses_at)
    found = explain(FAR)
    assert (found.fault, found.remedy) == (FaultCode.TFTP_ANSWER_LOST, None)
    assert host.asked == refuses_at


def test_a_firewall_on_the_way_or_there(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch)
    found = explain(FAR)
    assert (found.fault, found.detail) == (
        None,
        "no answer on UDP port 69 of 198.51.100.2, which is in another network",
    )
    assert found.remedy is not None
    assert "new port" in found.remedy
    assert host.asked == 3


def test_a_firewall_of_that_host(monkeypatch: pytest.MonkeyPatch) -> None:
    Host(monkeypatch, refuses_at=1)
    found = explain(NEAR)
    assert (found.fault, found.detail) == (None, "no answer on UDP port 69")
    assert found.remedy is not None
    assert "firewall of that host" in found.remedy
    Host(monkeypatch)
    assert explain(NEAR) == Silence(detail="no answer on UDP port 69")


def test_this_host_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch, refuses_at=1)
    assert explain(NEAR, replace(LINE, local=frozenset({NEAR}))).fault is None
    assert host.asked == 0


def test_a_line_that_cannot_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch)

    def fail(*_: object, **_options: object) -> None:
        raise LinkError("no route")

    monkeypatch.setattr(host, "send", fail)
    assert explain(NEAR).remedy is None
    monkeypatch.setattr(Line, "open_endpoint", lambda *_: None)
    assert explain(NEAR).remedy is None
