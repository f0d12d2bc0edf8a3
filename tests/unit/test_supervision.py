from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import pytest

from ectools.errors import EcError
from ectools.supervision import (
    ChildFailedError,
    ChildState,
    RestartPolicy,
    Restarts,
    Supervisor,
    tasks,
)

if TYPE_CHECKING:
    from collections.abc import Callable

POLICY = RestartPolicy(first_pause=0.2, longest_pause=2.0, healthy_seconds=60.0, max_restarts=5)
FOR_EVER = RestartPolicy(first_pause=0.2, longest_pause=2.0, healthy_seconds=60.0)


class Clock:
    """Time that passes only where somebody sleeps or a run lasts."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


class Script:
    """Runs of a child: how long each lasts once it serves (None: it never does), and how it ends."""

    def __init__(self, clock: Clock, runs: list[tuple[float | None, str | Exception | None]]) -> None:
        self.clock = clock
        self.runs = runs
        self.begun = 0

    async def __call__(self, serves: Callable[[], None]) -> str | None:
        if self.begun == len(self.runs):
            await asyncio.Event().wait()
        seconds, end = self.runs[self.begun]
        self.begun += 1
        if seconds is not None:
            serves()
            self.clock.now += seconds
        await asyncio.sleep(0)
        if isinstance(end, Exception):
            raise end
        return end


def supervise(runs: list, policy: RestartPolicy) -> tuple[Clock, Supervisor, list[ChildState], str]:
    """Run the script to its end; what the supervision ended with."""
    clock = Clock()
    states: list[ChildState] = []

    async def run() -> tuple[Supervisor, str]:
        script = Script(clock, runs)
        child = Supervisor(
            script, what="the child", policy=policy, changed=states.append, clock=clock, sleep=clock.sleep
        )
        running = asyncio.create_task(child.run())
        for _ in range(20 * len(runs) + 20):
            await asyncio.sleep(0)
        if running.done():
            with pytest.raises(ChildFailedError) as raised:
                running.result()
            return child, raised.value.message
        running.cancel()
        return child, "it runs"

    child, end = asyncio.run(run())
    return clock, child, states, end


def test_a_child_that_dies_at_once_is_given_up_after_growing_pauses() -> None:
    clock, child, states, end = supervise([(1.0, "exit status 1")] * 9, POLICY)
    assert clock.pauses == [0.2, 0.4, 0.8, 1.6, 2.0]
    assert end == "the child died 6 times in a row: exit status 1"
    assert child.state is ChildState.FAILED
    assert states[:3] == [ChildState.RUNNING, ChildState.RESTARTING, ChildState.RUNNING]


def test_a_healthy_run_resets_the_count() -> None:
    clock, child, _, end = supervise(
        [*[(59.9, "short")] * 3, (60.0, "healthy"), *[(1.0, "short")] * 4], POLICY
    )
    assert clock.pauses == [0.2, 0.4, 0.8, 0.2, 0.4, 0.8, 1.6, 2.0]
    assert end == "it runs"
    assert child.restarts == 8


def test_without_a_limit_it_never_gives_up() -> None:
    clock, _, _, end = supervise([(0.0, "exit status 1")] * 100, FOR_EVER)
    assert end == "it runs"
    assert len(clock.pauses) == 100
    assert set(clock.pauses[4:]) == {2.0}


@pytest.mark.parametrize(
    ("end", "how"),
    [
        ("exit status 3", "exit status 3"),
        (EcError("no program", hint="install it"), "no program\n  hint: install it"),
        (OSError(24, "Too many open files"), "Too many open files"),
        (KeyError("fault"), "KeyError: 'fault'"),
    ],
)
def test_a_first_run_that_does_not_serve_is_an_error(end: str | Exception, how: str) -> None:
    _, child, states, message = supervise([(None, end)], FOR_EVER)
    assert message == f"the child did not start: {how}"
    assert states == [child.state] == [ChildState.FAILED]


@pytest.mark.parametrize("end", [OSError(24, "Too many open files"), KeyError("fault"), EcError("gone")])
def test_no_exception_of_a_later_start_ends_the_supervision(end: Exception) -> None:
    _, child, _, message = supervise([(0.0, "died"), (None, end), (None, end)], FOR_EVER)
    assert message == "it runs"
    assert child.restarts == 3


def test_one_that_was_ended_on_purpose_begins_again_at_once() -> None:
    clock, child, states, _ = supervise([(1.0, "died"), (1.0, None), (1.0, "died")], POLICY)
    assert clock.pauses == [0.2, 0.2]
    assert child.restarts == 2
    assert states.count(ChildState.RESTARTING) == 2


def test_the_count_of_restarts_has_no_overflow() -> None:
    restarts = Restarts(RestartPolicy())
    restarts.in_a_row = 10**9
    assert restarts.count(ran_seconds=0) == 60.0


def test_the_block_is_entered_when_the_child_serves_or_a_stop_is_asked_for() -> None:
    async def run() -> None:
        clock = Clock()
        unless = asyncio.Event()
        child = Supervisor(Script(clock, []), what="it", policy=POLICY, clock=clock, sleep=clock.sleep)
        asyncio.get_running_loop().call_later(0.01, unless.set)
        async with child.running(unless=unless):
            assert not child.served.is_set()
        script = Script(clock, [(0.0, "died")])
        child = Supervisor(script, what="it", policy=POLICY, clock=clock, sleep=clock.sleep)
        async with child.running(unless=asyncio.Event()) as running:
            assert child.served.is_set()
        assert running.cancelled()
        script = Script(clock, [(None, "exit status 1")])
        child = Supervisor(script, what="it", policy=POLICY, clock=clock, sleep=clock.sleep)
        with pytest.raises(ChildFailedError, match="it did not start"):
            async with child.running(unless=asyncio.Event()):
                raise AssertionError("not reached")

    asyncio.run(run())


def test_tasks_end_with_their_block_and_their_failures_are_not_lost() -> None:
    unseen: list[object] = []

    async def fail() -> None:
        raise LookupError("nobody looks")

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: unseen.append(type(context["exception"]))
        )
        async with tasks(asyncio.Event().wait(), fail()) as (waiting, failed):
            await asyncio.wait([failed])
        assert waiting.cancelled()
        del waiting, failed
        gc.collect()
        async with tasks(fail()) as (failed,):
            with pytest.raises(LookupError):
                await failed

    asyncio.run(run())
    assert unseen == [LookupError]
