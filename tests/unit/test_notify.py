"""What a service manager hears, over the socket that it names (sd_notify(3))."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING

import pytest

from ectools.notify import Notifier

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def channel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield manager


def test_each_message_is_one_datagram(channel: socket.socket) -> None:
    notifier = Notifier()
    for send, message in (
        (notifier.ready, b"READY=1"),
        (notifier.alive, b"WATCHDOG=1"),
        (notifier.stopping, b"STOPPING=1"),
        (lambda: notifier.status("two\nlines é"), "STATUS=two lines é".encode()),
    ):
        send()
        assert channel.recv(4096) == message


def test_a_reload_has_its_time_in_microseconds(channel: socket.socket) -> None:
    before = time.monotonic_ns()
    Notifier().reloading()
    first, second = channel.recv(4096).decode().split("\n")
    assert first == "RELOADING=1"
    name, _, microseconds = second.partition("=")
    assert name == "MONOTONIC_USEC"
    assert before // 1000 <= int(microseconds) <= time.monotonic_ns() // 1000


def test_an_abstract_address_begins_with_an_at_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"every-channel-test-{os.getpid()}"
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}")
        manager.settimeout(60)
        Notifier().ready()
        assert manager.recv(4096) == b"READY=1"


@pytest.mark.parametrize("address", [None, ""])
def test_without_a_manager_nothing_is_sent(address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if address is None:
        monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    else:
        monkeypatch.setenv("NOTIFY_SOCKET", address)

    def fail(*_: object) -> None:
        raise AssertionError("a socket is made")

    notifier = Notifier()
    monkeypatch.setattr(socket, "socket", fail)
    notifier.ready()


def test_a_manager_that_is_gone_is_a_warning_and_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    Notifier().ready()
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.__dict__["fields"]["notification"] == "READY=1"
    assert "No such file" in record.__dict__["fields"]["reason"]


def test_a_manager_that_does_not_read_is_waited_for_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    did: list[object] = []

    class Channel:
        def __init__(self, family: int, kind: int) -> None:
            did.append((family, kind))

        def __enter__(self) -> Channel:
            return self

        def __exit__(self, *_: object) -> None:
            did.append("closed")

        def settimeout(self, seconds: float) -> None:
            did.append(seconds)

        def connect(self, address: str) -> None:
            did.append(address)

        def sendall(self, _: bytes) -> None:
            raise TimeoutError

    notifier = Notifier()
    monkeypatch.setattr(socket, "socket", Channel)
    notifier.alive()
    kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
    assert did == [(socket.AF_UNIX, kind), 1.0, "/run/notify", "closed"]


@pytest.mark.parametrize(
    ("microseconds", "pid", "seconds"),
    [
        ("60000000", None, 60.0),
        ("1500000", "own", 1.5),
        ("60000000", "1", None),
        ("0", None, None),
        ("", None, None),
        ("-1", None, None),
        ("soon", None, None),
        (None, None, None),
    ],
)
def test_how_often_the_manager_wants_to_hear(
    microseconds: str | None, pid: str | None, seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"WATCHDOG_USEC": microseconds, "WATCHDOG_PID": str(os.getpid()) if pid == "own" else pid}
    for name, value in given.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert Notifier().watchdog_seconds == seconds
