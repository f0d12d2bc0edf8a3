"""The rules in the kernel for as long as the program lives: what nft is told, what it may answer, its end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.fake_process import FakeProcess
from support.virtual_time import VirtualTimeLoop

from ectools.vm import loopback_filter
from ectools.vm.loopback_filter import LoopbackError, check_loopback, hold_filter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from ectools.vm.settings import GuestSettings

RULES = "table inet every-channel-guest-994\n"
TABLE = ["table inet every-channel-guest-994 {", "\tchain output {", "\t}", "}"]


class Nft(FakeProcess):
    """Its input, the file that it is told to include, and its answers: ``lines``, then ``returncode``."""

    def __init__(self, lines: list[str], *, ends_with: int | None) -> None:
        super().__init__()
        self.stdin = self
        self.stdout = asyncio.StreamReader()
        self.commands: list[str] = []
        self.rules = ""
        self.closed = False
        self._lines = lines
        self._ends_with = ends_with

    def write(self, data: bytes) -> None:
        self.commands += data.decode().splitlines()
        self.rules = Path(self.commands[0].split('"')[1]).read_text()
        for line in self._lines:
            self.stdout.feed_data(f"{line}\n".encode())
        if self._ends_with is not None:
            self._finish(self._ends_with)

    def close(self) -> None:
        if not self.closed and self.returncode is None:
            self.closed = True
            self._finish(1)

    def _finish(self, returncode: int) -> None:
        self.stdout.feed_eof()
        self.end(returncode)


class Host:
    """Runs nft; ``signals`` are sent to this program by their time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lines = TABLE
        self.ends_with: int | None = None
        self.script: Callable[[Nft, Callable[[int], None]], None] = lambda *_: None
        self.started: list[tuple[list[str], dict[str, Any]]] = []
        self._handlers: dict[int, Callable[[], None]] = {}
        monkeypatch.setattr(loopback_filter, "start_async", self._start)
        monkeypatch.setattr(loopback_filter, "find_program", lambda name, hint: f"/sbin/{name}")
        monkeypatch.setattr(asyncio, "run", self._run)

    def _run(self, scenario: Any) -> None:
        class Loop(VirtualTimeLoop):
            add_signal_handler = lambda _, number, call: self._handlers.update({number: call})  # noqa: E731

        with asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(scenario)

    @contextlib.asynccontextmanager
    async def _start(self, argv: list[str], **more: Any) -> AsyncIterator[Nft]:
        self.started.append((argv, more))
        self.nft = Nft(self.lines, ends_with=self.ends_with)
        self.script(self.nft, lambda number: self._handlers[number]())
        yield self.nft

    def stop_later(self, number: int, seconds: float = 1000) -> None:
        """A signal so long after the start."""
        self.script = lambda _, send: asyncio.get_running_loop().call_later(seconds, send, number)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(monkeypatch)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_rules_stay_until_a_signal(
    number: int, host: Host, manager: Any, told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials")
    host.stop_later(number)
    hold_filter(RULES, uid=994)
    ((argv, more),) = host.started
    assert argv == ["/sbin/nft", "--interactive"]
    assert (more["stdin"], more["stdout"], more["stderr"]) == (
        subprocess.PIPE,
        subprocess.PIPE,
        subprocess.STDOUT,
    )
    assert more["env"]["HOME"] == "/nonexistent"
    assert "CREDENTIALS_DIRECTORY" not in more["env"]
    include, listing = host.nft.commands
    assert include.startswith('include "/')
    assert listing == "list table inet every-channel-guest-994"
    assert host.nft.rules == RULES
    assert not Path(include.split('"')[1]).exists()
    assert manager.heard() == ["READY=1", "STATUS=the user 994 is kept from the loopback"]
    assert told.take() == [
        (
            "info",
            "the guest's user is kept from the loopback",
            {"table": "every-channel-guest-994", "uid": 994},
        )
    ]


def test_an_nft_that_ends_takes_the_rules_with_it(host: Host) -> None:
    def die(nft: Nft, _: object) -> None:
        asyncio.get_running_loop().call_later(1000, nft.end, -signal.SIGKILL)

    host.script = die
    with pytest.raises(LoopbackError, match="/sbin/nft ended, and the rules with it: killed by SIGKILL"):
        hold_filter(RULES, uid=994)


def test_an_end_that_comes_with_a_signal_is_in_order(host: Host) -> None:
    def both(nft: Nft, send: Callable[[int], None]) -> None:
        def end() -> None:
            send(signal.SIGTERM)
            nft.end(1)

        asyncio.get_running_loop().call_later(1000, end)

    host.script = both
    hold_filter(RULES, uid=994)


@pytest.mark.parametrize(
    ("lines", "ends_with", "reason"),
    [
        (
            [
                "/tmp/x.nft:1:1-2: Error: Could not process rule: Operation not permitted",
                "table inet every-channel-guest-994",
                "^^",
                "/tmp/x.nft:2:1-2: Error: Could not process rule: Operation not permitted",
                "}",
            ],
            None,
            "Could not process rule: Operation not permitted",
        ),
        (["Error: one", "Error: two", "Error: one"], None, "one; two"),
        (["netlink: broken", "still"], 1, "netlink: broken; still"),
        ([], 3, "exit status 3"),
    ],
)
def test_what_nft_has_against_the_rules_is_said_once(
    lines: list[str], ends_with: int | None, reason: str, host: Host, manager: Any
) -> None:
    host.lines, host.ends_with = lines, ends_with
    with pytest.raises(LoopbackError) as caught:
        hold_filter(RULES, uid=994)
    assert caught.value.message == f"the rules for the loopback cannot be loaded; nft: {reason}"
    assert "every-channel-guest-994 (nft list tables)" in str(caught.value.hint)
    assert manager.heard() == []


def test_an_nft_that_does_not_answer_has_a_minute(host: Host) -> None:
    host.lines = ["table inet every-channel-guest-994 {"]
    with pytest.raises(LoopbackError, match="/sbin/nft: no answer within 60 s"):
        hold_filter(RULES, uid=994)


def test_a_loopback_that_cannot_be_tried_is_an_error(
    settings_of: Callable[..., GuestSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(loopback_filter, "find_unfiltered", fail)
    with pytest.raises(LoopbackError, match="the loopback cannot be tried: Too many open files"):
        check_loopback(settings_of(), required=False)
    check_loopback(settings_of({"boot": {"userNet": {"hostLoopback": "all"}}}), required=True)
