from __future__ import annotations

import asyncio
import gc
import logging
from typing import TYPE_CHECKING

import pytest

from ectools.timers import Guard, Periodic, repeat, report_unseen_failures

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    logger = logging.getLogger("ectools")
    before = logger.propagate
    logger.propagate = True
    with caplog.at_level(logging.INFO):
        yield caplog
    logger.propagate = before


def test_a_timer_outlives_every_exception(told: pytest.LogCaptureFixture) -> None:
    turns = 0

    def work() -> None:
        nonlocal turns
        turns += 1
        if turns < 5:
            raise OSError(107, "Transport endpoint is not connected")

    async def run() -> Periodic:
        timer = Periodic(work, seconds=0.001, name="sweep")
        timer.start()
        async with asyncio.timeout(20):
            while turns < 6:  # noqa: ASYNC110 - it is the timer itself that is waited for
                await asyncio.sleep(0.001)
        timer.stop()
        return timer

    timer = asyncio.run(run())
    assert timer.guard.failures == 4
    assert timer.last_success is not None
    # The first with its traceback; its repetitions within the minute are counted, not told.
    (record,) = told.records
    assert record.exc_info is not None
    assert record.fields["where"] == "sweep"
    assert record.fields["reason"].startswith("OSError: ")


def test_a_timer_is_late_while_its_work_fails() -> None:
    async def run() -> list[bool]:
        def fail() -> None:
            raise ValueError("always")

        failing = Periodic(fail, seconds=0.001, name="failing")
        working = Periodic(lambda: None, seconds=3600, name="working")
        before = working.is_late()
        failing.start()
        working.start()
        await asyncio.sleep(0.01)
        late = [before, failing.is_late(), working.is_late()]
        working.stop()
        failing.stop()
        return [*late, working.is_late()]

    assert asyncio.run(run()) == [True, True, False, True]


def test_a_stopped_timer_makes_no_further_turn() -> None:
    turns = []

    async def run() -> None:
        timer = Periodic(lambda: turns.append(1), seconds=0.001, name="any")
        timer.start()
        timer.stop()
        await asyncio.sleep(0.02)

    asyncio.run(run())
    assert turns == [1]


def test_work_may_stop_its_own_timer() -> None:
    turns = []

    async def run() -> None:
        timer = Periodic(lambda: (turns.append(1), timer.stop()), seconds=0.001, name="any")
        timer.start()
        await asyncio.sleep(0.02)

    asyncio.run(run())
    assert turns == [1]


def test_a_fault_that_repeats_itself_is_told_once_a_minute(told: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    guard = Guard("accept", clock=lambda: now[0])
    for second in range(121):
        now[0] = float(second)
        assert not guard.call(lambda: 1 / 0)
    assert [record.fields["unreported"] for record in told.records] == [0, 59, 59]
    assert guard.failures == 121
    assert guard.call(lambda value: value, 7)


def test_repeated_work_goes_on_after_an_exception() -> None:
    turns = 0

    async def work() -> None:
        nonlocal turns
        turns += 1
        raise KeyError(turns)

    async def run() -> None:
        task = asyncio.create_task(repeat(work, seconds=0.001, name="watchdog"))
        async with asyncio.timeout(20):
            while turns < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        assert not task.done()
        task.cancel()

    asyncio.run(run())


def test_what_nobody_looked_at_is_in_the_log(told: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise LookupError("nobody looks")

    async def run() -> None:
        loop = asyncio.get_running_loop()
        report_unseen_failures(loop)
        task = asyncio.create_task(fail())
        await asyncio.wait([task])
        del task
        gc.collect()
        loop.call_soon(lambda: 1 / 0)
        await asyncio.sleep(0.01)

    asyncio.run(run())
    kinds = {record.fields["reason"].partition(":")[0] for record in told.records}
    assert kinds == {"LookupError", "ZeroDivisionError"}
