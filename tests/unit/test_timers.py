from __future__ import annotations

import asyncio
import gc
import logging
from typing import TYPE_CHECKING

import pytest
from support.virtual_time import run_virtually

from ectools.timers import Guard, Jobs, Periodic, report_unseen_failures

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO):
        yield caplog


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
        jobs = Jobs()
        task = asyncio.create_task(jobs.repeat(work, seconds=0.001, name="watchdog"))
        async with asyncio.timeout(20):
            while turns < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        assert not task.done()
        task.cancel()
        await asyncio.wait({task})
        assert jobs.failures == turns  # also once it is repeated no more

    asyncio.run(run())


def test_what_fails_again_and_again_is_named_until_it_goes_well() -> None:
    async def scenario() -> None:
        now, ways = [0.0], ["fails", "fails", "fails", "goes", "lasts"]
        jobs = Jobs(clock=lambda: now[0])
        found: list[list[str]] = []

        async def work() -> None:
            found.append(jobs.list_failing())
            way = ways[len(found) - 1]
            if way == "lasts":
                await asyncio.Event().wait()
            elif way == "fails":
                raise KeyError

        async def until(turns: int) -> None:
            async with asyncio.timeout(20):
                while len(found) < turns:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)

        task = asyncio.create_task(jobs.repeat(work, seconds=0.001, name="follows others"))
        await until(5)
        assert found == [[], [], [], ["follows others"], []]
        # One that ends again and again, and lasts in between.
        ways[5:] = ["fails"] * 3 + ["lasts"]
        task.cancel()
        task = asyncio.create_task(jobs.repeat(work, seconds=0.001, name="follows others"))
        await until(9)
        assert jobs.list_failing() == ["follows others"]
        now[0] += 61
        assert jobs.list_failing() == []
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert jobs.list_failing() == []

    asyncio.run(scenario())


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


def test_turns_come_by_the_clock_and_a_late_one_is_not_made_up_for() -> None:
    async def scenario() -> list[float]:
        loop = asyncio.get_running_loop()
        began, turns = loop.time(), []
        timer = Periodic(lambda: turns.append(round(loop.time() - began)), seconds=10, name="any")
        timer.start()
        await asyncio.sleep(25)
        timer.start()  # anew: the turn that was due is not made as well
        await asyncio.sleep(25)
        timer.stop()
        await asyncio.sleep(25)
        return turns

    assert run_virtually(scenario()) == [0, 10, 20, 25, 35, 45]


def test_a_timer_is_late_after_three_periods_and_a_grace() -> None:
    works = True

    def work() -> None:
        if not works:
            raise ValueError

    async def scenario() -> list[bool]:
        nonlocal works
        timer = Periodic(work, seconds=10, name="any")
        timer.start()
        await asyncio.sleep(1)
        works = False
        late = []
        for seconds in (33.9, 0.2):
            await asyncio.sleep(seconds)
            late.append(timer.is_late())
        late += [timer.is_late(periods=4), timer.is_late(grace=6), timer.is_late(periods=0, grace=0)]
        works = True
        await asyncio.sleep(10)
        late.append(timer.is_late())
        assert timer.last_success is not None
        return late

    assert run_virtually(scenario()) == [False, True, False, False, True, False]


def test_repeated_work_has_its_pause_between_two_turns() -> None:
    async def scenario() -> list[float]:
        loop = asyncio.get_running_loop()
        began, turns = loop.time(), []

        async def work() -> None:
            turns.append(round(loop.time() - began))
            await asyncio.sleep(5)
            raise ValueError

        task = asyncio.create_task(Jobs().repeat(work, seconds=10, name="any"))
        await asyncio.sleep(40)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return turns

    assert run_virtually(scenario()) == [0, 15, 30]


def test_a_fault_has_its_place_its_kind_and_its_traceback(told: pytest.LogCaptureFixture) -> None:
    guard = Guard("the place", clock=lambda: 0.0)
    seen: list[object] = []
    assert guard.call(lambda *values: seen.append(values), 1, 2)
    assert not guard.call(int, "x")
    assert seen == [(1, 2)]
    (record,) = told.records
    assert record.getMessage() == "a fault of this program; it goes on"
    assert record.fields == {
        "where": "the place",
        "reason": "ValueError: invalid literal for int() with base 10: 'x'",
        "unreported": 0,
    }
    assert record.exc_info is not None
    assert record.exc_info[0] is ValueError


def test_an_end_of_the_program_is_not_kept_from_it() -> None:
    guard = Guard("any", clock=lambda: 0.0)

    def end() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        guard.call(end)
    assert guard.failures == 0


@pytest.mark.parametrize(
    ("context", "event"),
    [
        ({"message": "an event"}, "an event"),
        ({"message": ""}, "a fault of this program"),
        ({}, "a fault of this program"),
        ({"message": "an event", "exception": LookupError("x")}, "an event"),
    ],
)
def test_what_a_loop_reports_is_an_error_in_the_log(
    context: dict, event: str, told: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        report_unseen_failures(loop)
        loop.call_exception_handler(context)

    asyncio.run(scenario())
    (record,) = told.records
    assert (record.levelname, record.getMessage()) == ("ERROR", event)
    assert record.fields == ({"reason": "LookupError: x"} if "exception" in context else {})
    assert (record.exc_info is not None) == ("exception" in context)
