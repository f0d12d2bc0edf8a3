from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.virtual_time import run_virtually

from ectools.log_limit import LogLimit, LogRate

if TYPE_CHECKING:
    from collections.abc import Callable

RATE = LogRate(burst_lines=10, burst_bytes=1000, lines_per_second=1.0, bytes_per_second=100.0)


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list[dict]]:
    """The fields of what has been told since it was last asked."""

    def take() -> list[dict]:
        fields = [record.fields for record in caplog.records if "left out" in record.getMessage()]
        caplog.clear()
        return fields

    return take


def on_a_loop(work: Callable[[], None]) -> None:
    async def run() -> None:
        work()

    asyncio.run(run())


def test_a_burst_passes_and_then_only_so_many_lines_a_second(told: Callable[[], list[dict]]) -> None:
    clock = Clock()
    limit = LogLimit("console", rate=RATE, clock=clock)

    def run() -> None:
        assert [limit.take(1) for _ in range(12)] == [True] * 10 + [False] * 2
        clock.now += 3
        assert [limit.take(1) for _ in range(5)] == [True] * 3 + [False] * 2
        clock.now += 10**9  # the burst is not more after a long silence
        assert [limit.take(1) for _ in range(12)] == [True] * 10 + [False] * 2
        limit.close()

    on_a_loop(run)
    assert told() == [
        {"source": "console", "lines": 1, "bytes": 1},
        {"source": "console", "lines": 5, "bytes": 5},
    ]


def test_few_long_lines_are_bounded_by_their_bytes() -> None:
    clock = Clock()
    limit = LogLimit("console", rate=RATE, clock=clock)

    def run() -> None:
        assert [limit.take(400) for _ in range(3)] == [True, True, False]
        assert limit.take(200)  # a short one still fits
        clock.now += 4
        assert limit.take(400)
        limit.close()

    on_a_loop(run)


def test_what_is_left_out_is_told_once_a_period_and_at_the_end_of_a_flood(
    told: Callable[[], list[dict]],
) -> None:
    limit = LogLimit("qemu", rate=RATE, clock=Clock(), report_seconds=0.05)

    async def run() -> None:
        for _ in range(10 + 1000):
            limit.take(1)
        assert [fields["lines"] for fields in told()] == [1]
        await asyncio.sleep(0.3)
        assert [fields["lines"] for fields in told()] == [999]  # and nothing was written meanwhile
        limit.close()
        assert told() == []
        assert not limit.take(1)
        limit.close()
        assert [fields["lines"] for fields in told()] == [1]

    asyncio.run(run())


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 2000)), max_size=60))
def test_no_more_passes_than_the_burst_and_the_rate_allow(steps: list[tuple[float, int]]) -> None:
    clock = Clock()
    limit = LogLimit("console", rate=RATE, clock=clock)

    def run() -> None:
        lines = size = 0
        for pause, length in steps:
            clock.now += pause
            if limit.take(length):
                lines, size = lines + 1, size + length
        passed = clock.now - 50.0
        assert lines <= RATE.burst_lines + passed * RATE.lines_per_second + 1e-6
        assert size <= RATE.burst_bytes + passed * RATE.bytes_per_second + 1e-6
        limit.close()

    on_a_loop(run)


def test_a_budget_that_is_met_exactly_is_kept() -> None:
    clock = Clock()
    limit = LogLimit("console", rate=RATE, clock=clock)

    def run() -> None:
        assert limit.take(1000)  # all bytes of the burst
        assert not limit.take(1)
        clock.now += 0.25  # 25 bytes
        assert limit.take(25)
        assert not limit.take(1)
        assert limit.take(0)
        clock.now += 10
        assert not limit.take(1001)
        assert limit.take(1000)
        limit.close()

    on_a_loop(run)


def test_of_ten_lines_a_burst_takes_ten_and_half_a_line_is_none() -> None:
    clock = Clock()
    limit = LogLimit("console", rate=RATE, clock=clock)

    def run() -> None:
        assert [limit.take(0) for _ in range(11)] == [True] * 10 + [False]
        clock.now += 0.5
        assert not limit.take(0)
        clock.now += 0.5
        assert limit.take(0)
        limit.close()

    on_a_loop(run)


def test_a_flood_is_reported_every_minute_until_it_ends(told: Callable[[], list[dict]]) -> None:
    async def scenario() -> list[tuple[float, list[int]]]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        limit = LogLimit("console", rate=RATE, clock=loop.time)
        found = []
        for second in range(200):
            # Ten lines a second for a minute and a half: one of them passes.
            for _ in range(10 if second < 90 else 0):
                limit.take(1)
            if lines := [fields["lines"] for fields in told()]:
                found.append((round(loop.time() - began), lines))
            await asyncio.sleep(1)
        limit.close()
        assert told() == []
        return found

    (first, second, third) = run_virtually(scenario())
    assert first == (1, [1])  # at once
    assert second[0] == 61
    assert third[0] == 121
    assert second[1][0] + third[1][0] + 1 + 10 + 89 == pytest.approx(900, abs=2)


def test_the_default_takes_a_boot_and_a_day() -> None:
    rate = LogRate()
    assert (rate.burst_lines, rate.burst_bytes) == (10_000, 1_048_576)
    assert (rate.lines_per_second, rate.bytes_per_second) == (10.0, 4096.0)
