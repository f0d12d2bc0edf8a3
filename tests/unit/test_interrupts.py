"""Signals whose handlers raise, put off while what they would leave behind is made."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

import pytest

from ectools import processes
from ectools.interrupts import hold_signals

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator


class StoppedError(BaseException):
    """What a handler raises."""


@pytest.fixture(autouse=True)
def handler() -> Iterator[list[int]]:
    """A handler of SIGTERM and SIGHUP that raises; what it was called with."""
    called: list[int] = []

    def stop(number: int, _frame: object) -> None:
        called.append(number)
        raise StoppedError

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield called
    for number, earlier in before.items():
        signal.signal(number, earlier)


def test_what_comes_meanwhile_is_handled_at_the_release(handler: list[int]) -> None:
    with hold_signals() as release:
        signal.raise_signal(signal.SIGTERM)
        assert not handler
        with pytest.raises(StoppedError):
            release()
        assert handler == [signal.SIGTERM]
        with pytest.raises(StoppedError):
            signal.raise_signal(signal.SIGTERM)
    assert len(handler) == 2


def test_without_a_release_it_is_handled_at_the_end(handler: list[int]) -> None:
    def block() -> None:
        with hold_signals():
            signal.raise_signal(signal.SIGTERM)
            assert not handler

    with pytest.raises(StoppedError):
        block()
    assert handler == [signal.SIGTERM]


def test_an_error_of_the_block_does_not_lose_a_signal(handler: list[int]) -> None:
    def block() -> None:
        with hold_signals():
            signal.raise_signal(signal.SIGTERM)
            raise OSError

    with pytest.raises(StoppedError) as caught:
        block()
    assert isinstance(caught.value.__context__, OSError)
    assert handler == [signal.SIGTERM]


def test_handlers_are_back_though_each_signal_came() -> None:
    def block() -> None:
        with hold_signals() as release:
            for number in (signal.SIGHUP, signal.SIGTERM):
                signal.raise_signal(number)
            release()

    with pytest.raises(StoppedError):
        block()
    for number in (signal.SIGHUP, signal.SIGTERM):
        with pytest.raises(StoppedError):
            signal.raise_signal(number)


def test_a_handler_that_its_block_has_set_stays(handler: list[int]) -> None:
    with hold_signals() as release:
        release()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    assert not handler


def test_what_python_does_not_handle_is_left_alone() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with hold_signals():
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_other_threads_hold_nothing() -> None:
    seen = []

    def look() -> None:
        with hold_signals() as release:
            release()
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]


@pytest.mark.parametrize("start", ["run", "start"])
def test_a_child_that_is_just_made_ends_with_the_signal(start: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal comes within Popen, after the fork."""
    made: list[subprocess.Popen[bytes]] = []
    popen = processes.subprocess.Popen

    def make(*args: object, **options: object) -> subprocess.Popen[bytes]:
        child: subprocess.Popen[bytes] = popen(*args, **options)  # type: ignore[call-overload]
        made.append(child)
        signal.raise_signal(signal.SIGTERM)
        return child

    monkeypatch.setattr(processes.subprocess, "Popen", make)
    with pytest.raises(StoppedError), getattr(processes, start)(["sleep", "600"]):
        pass
    (child,) = made
    assert child.returncode is not None


def test_an_interrupted_stop_kills(monkeypatch: pytest.MonkeyPatch) -> None:
    child = processes.launch(["sh", "-c", "trap '' TERM; sleep 600"])
    wait = child.wait

    def interrupted(timeout: float | None = None) -> int:
        if timeout is not None:
            signal.raise_signal(signal.SIGTERM)
        return wait(timeout)

    monkeypatch.setattr(child, "wait", interrupted)
    with pytest.raises(StoppedError):
        processes.stop(child, term_seconds=600)
    assert child.returncode is not None
