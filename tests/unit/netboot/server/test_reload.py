"""Settings read again: off the loop, one time after another, and not while stopping."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from ectools.errors import EcError
from ectools.netboot.server.reload import Reloader
from ectools.notify import Notifier

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.log_lines import LogLines


class Manager(Notifier):
    """A notifier whose messages stay here."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def reloading(self) -> None:
        self.told.append("reloading")

    def ready(self) -> None:
        self.told.append("ready")


class Case:
    """A reloader whose preparation waits until it is let on."""

    def __init__(self, apply: Callable[[int], None] | None = None) -> None:
        self.loop_thread = threading.get_ident()
        self.may_go_on = threading.Semaphore(0)
        self.begun = self.overlapping = self.most = 0
        self.applied: list[int] = []
        self.manager = Manager()
        self.stop = asyncio.Event()
        self.reloader: Reloader[int] = Reloader(
            self._prepare, apply or self.applied.append, notifier=self.manager, stop=self.stop
        )

    def _prepare(self) -> int:
        assert threading.get_ident() != self.loop_thread
        self.begun += 1
        self.overlapping += 1
        self.most = max(self.most, self.overlapping)
        self.may_go_on.acquire()
        self.overlapping -= 1
        return self.begun

    async def wait_begun(self, count: int) -> None:
        await until(lambda: self.begun >= count)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - another thread makes it true
        await asyncio.sleep(0.001)


def test_what_is_asked_for_meanwhile_is_done_once_and_after() -> None:
    async def run() -> Case:
        case = Case()
        async with case.reloader.running():
            case.reloader.ask()
            await case.wait_begun(1)
            for _ in range(5):
                case.reloader.ask()
            # The loop goes on, although nothing has been prepared yet.
            assert case.applied == []
            case.may_go_on.release()
            await case.wait_begun(2)
            case.may_go_on.release()
            await until(lambda: case.manager.told.count("ready") == 2)
        return case

    case = asyncio.run(asyncio.wait_for(run(), 60))
    assert (case.applied, case.most) == ([1, 2], 1)
    assert case.manager.told == ["reloading", "ready"] * 2


def test_nothing_is_taken_up_while_stopping() -> None:
    async def run() -> Case:
        case = Case()
        async with case.reloader.running():
            case.reloader.ask()
            await case.wait_begun(1)
            case.stop.set()
            case.may_go_on.release()
            await until(lambda: case.overlapping == 0)
            await asyncio.sleep(0.05)
            case.reloader.ask()
            await asyncio.sleep(0.05)
        return case

    case = asyncio.run(asyncio.wait_for(run(), 60))
    assert (case.begun, case.applied) == (1, [])
    assert case.manager.told == ["reloading"]


def test_nothing_is_done_before_the_block_or_after_it() -> None:
    async def run() -> Case:
        case = Case()
        case.may_go_on.release()
        case.reloader.ask()
        await asyncio.sleep(0)
        assert case.begun == 0
        async with case.reloader.running():
            await until(lambda: case.manager.told == ["reloading", "ready"])
        case.reloader.ask()
        await asyncio.sleep(0)
        return case

    case = asyncio.run(asyncio.wait_for(run(), 60))
    assert (case.begun, case.applied) == (1, [1])


def test_no_reload_outlives_the_block() -> None:
    async def run() -> Case:
        case = Case()
        before = asyncio.all_tasks()
        async with case.reloader.running():
            case.reloader.ask()
            await case.wait_begun(1)
        after = asyncio.all_tasks()
        case.may_go_on.release()
        assert after == before
        await until(lambda: case.overlapping == 0)
        return case

    case = asyncio.run(asyncio.wait_for(run(), 60))
    assert (case.applied, case.manager.told) == ([], ["reloading"])


def test_the_log_says_what_became_of_it(log_lines: LogLines) -> None:
    """And a fault of this program has its traceback there. What is wrong is known until it is right."""
    errors: list[Exception | None] = [
        None,
        EcError("no\nx", hint="do it"),
        ZeroDivisionError("a fault"),
        None,
    ]
    found: list[str | None] = []

    def apply(number: int) -> None:
        error = errors[number - 1]
        if error is not None:
            raise error

    async def run() -> None:
        case = Case(apply)
        async with case.reloader.running():
            for number in (1, 2, 3, 4):
                case.reloader.ask()
                case.may_go_on.release()
                await until(lambda number=number: case.manager.told.count("ready") == number)
                found.append(case.reloader.error)

    asyncio.run(asyncio.wait_for(run(), 60))
    assert found == [None, "no", "a fault of this program: ZeroDivisionError", None]
    lines = log_lines.all()
    assert [(line["level"], line["event"]) for line in lines] == [
        ("info", "the settings have been read again"),
        ("error", "the settings cannot be used; the old ones stay in force"),
        ("error", "a fault of this program; the old settings stay in force"),
        ("info", "the settings have been read again"),
    ]
    assert "no" in lines[1]["reason"]
    assert "do it" in lines[1]["reason"]
    assert "ZeroDivisionError" in lines[2]["traceback"]


@pytest.mark.parametrize("error", [EcError("no"), RuntimeError("a fault of ours")])
def test_what_cannot_be_taken_up_does_not_end_the_reloads(error: Exception) -> None:
    taken: list[int] = []

    def apply(number: int) -> None:
        if number == 1:
            raise error
        taken.append(number)

    async def run() -> Case:
        case = Case(apply)
        async with case.reloader.running():
            for number in (1, 2):
                case.reloader.ask()
                case.may_go_on.release()
                await until(lambda number=number: case.manager.told.count("ready") == number)
        return case

    asyncio.run(asyncio.wait_for(run(), 60))
    assert taken == [2]
