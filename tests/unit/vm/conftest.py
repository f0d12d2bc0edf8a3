"""Settings, read as a user's file is read; a service manager and a log that tell what they heard."""

from __future__ import annotations

import json
import logging
import socket
from typing import TYPE_CHECKING, Any

import pytest

from ectools.vm.load import load_guest_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ectools.vm.settings import GuestSettings

USABLE: dict[str, Any] = {"boot": {"http": {"root": "/srv/netboot"}}}


def merge(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """``base`` with ``change`` put over it, objects field by field."""
    merged = dict(base)
    for key, value in change.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


@pytest.fixture(scope="session")
def settings_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., GuestSettings]:
    """``settings_of({"boot": {…}})``: these fields, and the defaults of all others."""
    directory: Path = tmp_path_factory.mktemp("settings")

    def make(change: dict[str, Any] | None = None) -> GuestSettings:
        path = directory / "settings.json"
        path.write_text(json.dumps(merge(USABLE, change or {})))
        return load_guest_settings(path)

    return make


class Manager:
    """A service manager that listens; its watchdog wants to hear of a program every minute."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel

    def heard(self) -> list[str]:
        """What it was told since it was last asked."""
        messages = []
        while True:
            try:
                messages.append(self._channel.recv(4096).decode())
            except BlockingIOError:
                return messages


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "60000000")
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        yield Manager(channel)


class Told:
    """What the log was told: each event's level, its words and its fields."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    def take(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Since it was last asked."""
        found = [
            (record.levelname.lower(), record.getMessage(), record.__dict__["fields"])
            for record in self._caplog.records
            if record.name.startswith("ectools")
        ]
        self._caplog.clear()
        return found

    def events(self) -> list[tuple[str, str]]:
        """Levels and words alone."""
        return [(level, event) for level, event, _ in self.take()]


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Told:
    caplog.set_level(logging.DEBUG, logger="ectools")
    return Told(caplog)
