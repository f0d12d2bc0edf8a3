"""What dnsmasq's process tells the HTTP server's, over a real socket; the clock is the loop's own."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import stat
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.log_lines import LogLines

from ectools.files import FileError
from ectools.netboot.dnsmasq import reports
from ectools.netboot.dnsmasq.counts import ClientCounts
from ectools.netboot.dnsmasq.reports import UNKNOWN, DnsmasqReports, ReportSender
from ectools.netboot.dnsmasq.tftp_load import TftpFigures
from ectools.netboot.protocols import load_protocols
from ectools.supervision import ChildState

CLIENTS = ClientCounts()
CLIENTS.offers.update({"x64 UEFI": 3, "other": 1})
CLIENTS.failed = 2
FIGURES = TftpFigures(transfers=5, max_transfers=40, sent=6, dropped=7, refused=None, lines_lost=8)


class Receiver:
    """The HTTP server's side on a socket of the test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.delivered: list[tuple[str, str]] = []
        self.offered: list[str] = []
        self.now = 1000.0
        self.reports = DnsmasqReports(
            path, delivered=lambda *what: self.delivered.append(what), offered=self.offered.append
        )

    def send(self, *datagrams: bytes | dict[str, Any]) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            for each in datagrams:
                channel.sendto(each if isinstance(each, bytes) else json.dumps(each).encode(), str(self.path))

    def run(self, scenario: Callable[[], Any]) -> None:
        """``scenario`` is a function of await points: it yields where the loop is to go round."""

        async def main() -> None:
            loop = asyncio.get_running_loop()
            loop.time = lambda: self.now  # type: ignore[method-assign]
            async with self.reports.running(unless=asyncio.Event()) as ended:
                for _ in scenario():
                    for _ in range(10):
                        await asyncio.sleep(0)
                assert not ended.done()

        asyncio.run(main())


@pytest.fixture
def receiver(tmp_path: Path) -> Receiver:
    return Receiver(tmp_path / "reports.sock")


def test_a_state_and_a_delivery(receiver: Receiver) -> None:
    sender = ReportSender(receiver.path)

    def scenario() -> Iterator[None]:
        assert receiver.reports.state == UNKNOWN == "unknown"
        assert receiver.reports.clients is None
        sender.state(ChildState.RUNNING, restarts=3, tftp=FIGURES, clients=CLIENTS)
        sender.delivered("192.0.2.20", "ec-ipxe.efi")
        sender.offered("02:00:00:00:00:01")
        yield
        assert receiver.reports.state is ChildState.RUNNING
        assert receiver.reports.details() == {
            "dnsmasq_restarts": 3,
            "dnsmasq_reports_ignored": 0,
            "tftp": FIGURES.to_json(),
        }
        assert receiver.reports.tftp == FIGURES
        assert receiver.reports.clients is not None
        assert receiver.reports.clients.to_json() == CLIENTS.to_json()
        sender.state(ChildState.RESTARTING, restarts=4, tftp=FIGURES, clients=CLIENTS)
        yield
        assert (receiver.reports.state, receiver.reports.restarts) == (ChildState.RESTARTING, 4)

    receiver.run(scenario)
    assert receiver.delivered == [("192.0.2.20", "ec-ipxe.efi")]
    assert receiver.offered == ["02:00:00:00:00:01"]
    assert sender.lost == 0


def test_a_state_without_figures_is_one_of_an_older_dnsmasq_unit(receiver: Receiver) -> None:
    def scenario() -> Iterator[None]:
        receiver.send({"state": "running", "restarts": 2})
        yield
        assert receiver.reports.details() == {"dnsmasq_restarts": 2, "dnsmasq_reports_ignored": 0}
        assert receiver.reports.tftp is None
        receiver.send({"state": "running", "restarts": 9, "tftp": {"transfers": -1}})
        yield
        # Nothing of a report is taken that is wrong in a part.
        figures = {
            "tftp": FIGURES.to_json(),
            "clients": {"offers": {"any name": 1}, "ignored": {}, "failed": 0},
        }
        receiver.send({"state": "running", "restarts": 9, **figures})
        figures = {"tftp": FIGURES.to_json(), "clients": CLIENTS.to_json()}
        receiver.send({"state": "dancing", "restarts": 9, **figures})
        yield
        assert (receiver.reports.restarts, receiver.reports.ignored) == (2, 3)
        assert receiver.reports.tftp is receiver.reports.clients is None

    receiver.run(scenario)


def test_a_state_is_believed_for_twenty_seconds(receiver: Receiver) -> None:
    def scenario() -> Iterator[None]:
        receiver.send({"state": "running", "restarts": 0})
        yield
        receiver.now += 19.9
        assert receiver.reports.state is ChildState.RUNNING
        receiver.now += 0.1
        assert receiver.reports.state == UNKNOWN
        receiver.send({"state": "running", "restarts": 0})
        yield
        assert receiver.reports.state is ChildState.RUNNING

    receiver.run(scenario)


BAD: list[bytes | dict[str, Any]] = [
    b"",
    b"{",
    b"\xff",
    b"[" * 4000,
    b"[]",
    {},
    {"state": "running"},
    {"state": "dancing", "restarts": 0},
    {"state": "running", "restarts": "0"},
    {"state": 1, "restarts": 0},
    {"delivered": {"client": "192.0.2.20"}},
    {"offered": {"mac": "nobody's"}},
    {"offered": {"mac": 7}},
    {"delivered": {"client": "::1", "file": "a"}},
    {"delivered": {"client": "nobody", "file": "a"}},
    {"delivered": {"client": "192.0.2.20", "file": ""}},
    {"delivered": {"client": "192.0.2.20", "file": "a" * 512}},
    {"delivered": {"client": "192.0.2.20", "file": 7}},
    json.dumps({"state": "running", "restarts": 0}).encode().ljust(4097),
]


@pytest.mark.parametrize("report", BAD, ids=lambda report: repr(report)[:40])
def test_what_is_no_report_is_counted_and_changes_nothing(
    receiver: Receiver, report: bytes | dict[str, Any]
) -> None:
    def scenario() -> Iterator[None]:
        receiver.send(report)
        yield
        assert receiver.reports.state == UNKNOWN

    receiver.run(scenario)
    assert (receiver.reports.ignored, receiver.delivered) == (1, [])
    assert receiver.reports.details()["dnsmasq_reports_ignored"] == 1


def test_the_longest_report_and_the_longest_name(receiver: Receiver) -> None:
    def scenario() -> Iterator[None]:
        receiver.send(json.dumps({"state": "running", "restarts": 2}).encode().ljust(4096))
        receiver.send({"delivered": {"client": "192.0.2.20", "file": "a" * 511}, "more": 1})
        receiver.send({"delivered": {"client": "192.0.2.20", "file": "b"}})
        yield
        assert receiver.reports.restarts == 2

    receiver.run(scenario)
    assert receiver.reports.ignored == 0
    assert receiver.delivered == [("192.0.2.20", "a" * 511), ("192.0.2.20", "b")]


def test_the_largest_figures_fit_into_a_report(receiver: Receiver) -> None:
    most = 2**63 - 1
    clients = ClientCounts()
    names = [each.name for each in load_protocols().architectures] + ["other"]
    clients.offers.update(dict.fromkeys(names, most))
    clients.ignored.update(dict.fromkeys(names, most))
    clients.failed = most
    tftp = TftpFigures(
        transfers=most, max_transfers=most, sent=most, dropped=most, refused=most, lines_lost=most
    )

    def scenario() -> Iterator[None]:
        ReportSender(receiver.path).state(ChildState.RESTARTING, restarts=most, tftp=tftp, clients=clients)
        yield
        assert receiver.reports.clients is not None
        assert receiver.reports.clients.to_json() == clients.to_json()
        assert receiver.reports.tftp == tftp

    receiver.run(scenario)
    assert receiver.reports.ignored == 0


def test_what_is_ignored_is_told_once(receiver: Receiver, log_lines: LogLines) -> None:

    def scenario() -> Iterator[None]:
        receiver.send(b"x", b"x", b"x")
        yield

    receiver.run(scenario)
    (entry,) = log_lines.all()
    assert (entry["level"], entry["socket"]) == ("warning", str(receiver.path))
    assert receiver.reports.ignored == 3


@pytest.mark.parametrize(
    ("uid", "gid", "trusted"),
    [(0, 9999, True), (1000, 9999, True), (9998, 100, True), (9998, 9999, False), (65534, 0, False)],
)
def test_who_is_believed(monkeypatch: pytest.MonkeyPatch, uid: int, gid: int, trusted: bool) -> None:
    monkeypatch.setattr(reports.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(reports.os, "getegid", lambda: 100)
    credentials = struct.pack("3i", 1, uid, gid)
    said = (socket.SOL_SOCKET, socket.SCM_CREDENTIALS, credentials)
    assert reports._is_trusted([said]) is trusted
    assert reports._is_trusted([(socket.SOL_SOCKET, socket.SCM_RIGHTS, b"1234"), said]) is trusted


@pytest.mark.parametrize(
    "said",
    [
        (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("3i", 1, 0, 0)),
        (socket.IPPROTO_UDP, socket.SCM_CREDENTIALS, struct.pack("3i", 1, 0, 0)),
        (socket.SOL_SOCKET, socket.SCM_CREDENTIALS, struct.pack("2i", 1, 0)),
    ],
)
def test_who_says_nothing_of_himself_is_not_believed(said: tuple[int, int, bytes]) -> None:
    assert not reports._is_trusted([said])
    assert not reports._is_trusted([])


def test_another_users_report_is_ignored(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "_is_trusted", lambda _ancillary: False)

    def scenario() -> Iterator[None]:
        receiver.send({"state": "running", "restarts": 0})
        yield
        assert receiver.reports.state == UNKNOWN

    receiver.run(scenario)
    assert receiver.reports.ignored == 1


def test_at_most_64_are_taken_at_a_time(receiver: Receiver) -> None:
    class Channel:
        taken = 0

        def recvmsg(self, size: int, ancillary: int) -> tuple[bytes, list[Any], int, None]:
            assert size == 4096
            assert ancillary == socket.CMSG_SPACE(12)
            self.taken += 1
            return b"x", [], 0, None

    channel = Channel()
    receiver.reports._take(channel)  # type: ignore[arg-type]
    assert (channel.taken, receiver.reports.ignored) == (64, 64)


def test_the_socket_is_its_groups_and_goes_with_the_block(receiver: Receiver) -> None:
    before = os.umask(0o022)
    try:

        def scenario() -> Iterator[None]:
            status = receiver.path.stat()
            assert stat.S_ISSOCK(status.st_mode)
            assert stat.S_IMODE(status.st_mode) == 0o660
            assert os.umask(0o022) == 0o022
            yield

        receiver.run(scenario)
    finally:
        os.umask(before)
    assert not receiver.path.exists()


def test_nobody_can_connect_before_the_rights_are_set(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[int] = []
    genuine = Path.chmod

    def chmod(path: Path, mode: int) -> None:
        modes.append(stat.S_IMODE(path.stat().st_mode))
        genuine(path, mode)

    monkeypatch.setattr(Path, "chmod", chmod)
    receiver.run(lambda: iter([None]))
    assert modes == [0o600]


def test_a_socket_that_a_dead_process_left_is_replaced(receiver: Receiver) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
        dead.bind(str(receiver.path))

    def scenario() -> Iterator[None]:
        receiver.send({"state": "running", "restarts": 0})
        yield
        assert receiver.reports.state is ChildState.RUNNING

    receiver.run(scenario)


def test_a_file_in_its_place_is_left_and_told(receiver: Receiver) -> None:
    receiver.path.write_text("somebody's")
    with pytest.raises(FileError, match=f"{receiver.path}: no socket for dnsmasq's reports can be made: "):
        receiver.run(lambda: iter([None]))
    assert receiver.path.read_text() == "somebody's"


def test_a_socket_that_is_gone_by_the_end_is_no_fault(receiver: Receiver) -> None:
    def scenario() -> Iterator[None]:
        receiver.path.unlink()
        yield

    receiver.run(scenario)


def test_what_nobody_takes_is_lost_and_counted(tmp_path: Path) -> None:
    sender = ReportSender(tmp_path / "none.sock")
    sender.state(ChildState.RUNNING, restarts=0, tftp=FIGURES, clients=CLIENTS)
    sender.delivered("192.0.2.20", "a")
    assert sender.lost == 2


def test_the_sender_does_not_wait_for_a_receiver_that_does_not_keep_up(tmp_path: Path) -> None:
    path = tmp_path / "full.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(path))
        sender = ReportSender(path)
        while not sender.lost:
            sender.state(ChildState.RUNNING, restarts=0, tftp=FIGURES, clients=CLIENTS)
    assert sender.lost == 1


def test_what_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "reports.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(path))
        sender = ReportSender(path)
        sender.state(ChildState.FAILED, restarts=2, tftp=FIGURES, clients=CLIENTS)
        sender.delivered("192.0.2.20", "a.efi")
        sent = [json.loads(channel.recv(4096)) for _ in range(2)]
    assert sent == [
        {"state": "failed", "restarts": 2, "tftp": FIGURES.to_json(), "clients": CLIENTS.to_json()},
        {"delivered": {"client": "192.0.2.20", "file": "a.efi"}},
    ]
    assert reports.REPORT_SECONDS == 5.0


def test_an_error_without_a_text(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_path: Path) -> bool:
        raise OSError("no text of the kernel's")

    monkeypatch.setattr(Path, "is_socket", fail)
    with pytest.raises(FileError, match="no text of the kernel's"):
        receiver.run(lambda: iter([None]))
    monkeypatch.setattr(Path, "is_socket", lambda _path: False)

    class Refusing(socket.socket):
        def bind(self, _address: Any) -> None:
            raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(reports.socket, "socket", Refusing)
    with pytest.raises(FileError, match=r"Read-only file system$"):
        reports._bind(receiver.path)
