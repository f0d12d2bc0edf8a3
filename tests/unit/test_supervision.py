from __future__ import annotations

import asyncio
import gc
import logging
from typing import TYPE_CHECKING

import pytest
from support.virtual_time import run_virtually

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


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="ectools")
    return caplog


def test_each_death_and_each_return_is_in_the_log(told: pytest.LogCaptureFixture) -> None:
    supervise([(1.0, "exit status 1"), (1.0, KeyError("fault")), (1.0, None), (1.0, "end")], POLICY)
    died, again = "the child died; it is started again", "the child serves again"
    assert [(record.levelname, record.getMessage(), record.fields) for record in told.records] == [
        ("ERROR", died, {"how": "exit status 1", "pause_seconds": 0.2, "restarts": 1}),
        ("INFO", again, {"restarts": 1}),
        ("ERROR", "a fault of this program while it ran the child", {}),
        ("ERROR", died, {"how": "KeyError: 'fault'", "pause_seconds": 0.4, "restarts": 2}),
        ("INFO", again, {"restarts": 2}),
        ("INFO", again, {"restarts": 2}),
        ("ERROR", died, {"how": "end", "pause_seconds": 0.2, "restarts": 3}),
    ]
    assert told.records[2].exc_info is not None


def test_an_error_of_the_system_without_words_is_named(told: pytest.LogCaptureFixture) -> None:
    _, _, _, message = supervise([(None, OSError("no number"))], POLICY)
    assert message == "the child did not start: no number"


def test_the_state_is_told_once_where_it_stays() -> None:
    _, child, states, _ = supervise([(1.0, None), (1.0, None), (1.0, "died")], POLICY)
    assert states == [ChildState.RUNNING, ChildState.RESTARTING]
    assert child.state is ChildState.RESTARTING


@pytest.mark.parametrize(
    ("policy", "runs", "pauses"),
    [
        (RestartPolicy(), [0.0] * 10, [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 60.0]),
        (RestartPolicy(), [0.0, 59.99, 60.0, 0.0], [0.2, 0.4, 0.2, 0.4]),
        (RestartPolicy(max_restarts=2), [0.0, 0.0, 0.0], [0.2, 0.4, None]),
        (RestartPolicy(max_restarts=0), [0.0, 60.0], [None, None]),
        (RestartPolicy(max_restarts=1), [0.0, 60.0, 0.0], [0.2, 0.2, None]),
    ],
)
def test_pauses_and_their_end(policy: RestartPolicy, runs: list[float], pauses: list[float | None]) -> None:
    restarts = Restarts(policy)
    found = [restarts.count(ran_seconds=seconds) for seconds in runs]
    assert found == pytest.approx(pauses) if None not in pauses else found == pauses
    restarts.reset()
    assert restarts.in_a_row == 0


def test_without_a_clock_of_its_own_a_supervisor_has_the_loops() -> None:
    async def scenario() -> tuple[list[float], str]:
        loop = asyncio.get_running_loop()
        began, starts = loop.time(), []

        async def run_once(serves: Callable[[], None]) -> str:
            starts.append(round(loop.time() - began, 1))
            serves()
            await asyncio.sleep(60 if len(starts) == 2 else 1)
            return "died"

        child = Supervisor(run_once, what="it", policy=RestartPolicy(max_restarts=2))
        with pytest.raises(ChildFailedError) as caught:
            async with asyncio.timeout(1000):
                await child.run()
        return starts, caught.value.message

    # Of the four runs the second was a healthy one.
    assert run_virtually(scenario()) == (
        [0, 1.2, 61.4, 62.8],
        "it died 3 times in a row: died",
    )


def test_a_child_that_is_given_up_inside_the_block_is_the_blocks_to_see() -> None:
    async def scenario() -> None:
        async def run_once(serves: Callable[[], None]) -> str:
            serves()
            await asyncio.sleep(1)
            return "died"

        child = Supervisor(run_once, what="it", policy=RestartPolicy(max_restarts=0))
        async with child.running(unless=asyncio.Event()) as running:
            await asyncio.wait([running], timeout=60)
            with pytest.raises(ChildFailedError, match="it died 1 times in a row: died"):
                running.result()

    run_virtually(scenario())


def test_a_block_of_no_tasks_and_an_exception_in_one() -> None:
    async def fail(after: asyncio.Task[str]) -> None:
        assert await after == "second"
        raise LookupError

    async def scenario() -> None:
        async with tasks() as running:
            assert list(running) == []
        with pytest.raises(LookupError):
            async with tasks(asyncio.sleep(3600), asyncio.sleep(0, "second")) as running:
                await fail(running[1])
        assert running[0].cancelled()

    run_virtually(scenario())


def test_a_task_that_takes_its_time_to_end_is_waited_for() -> None:
    async def linger() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(7)

    async def scenario() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with tasks(linger()):
            await asyncio.sleep(1)
        return round(loop.time() - began)

    assert run_virtually(scenario()) == 8
