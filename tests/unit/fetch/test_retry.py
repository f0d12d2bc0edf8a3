"""How long a client waits, and what a server may ask it to wait."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from support.clock import Clock

from ectools.fetch import retry as retry_module
from ectools.fetch.retry import RetryPolicy, parse_retry_after


def test_what_a_server_asks_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime(2026, 3, 2, 12, 0, 0, tzinfo=UTC)
    monkeypatch.setattr(retry_module, "time", Clock(now.timestamp()))
    cases = {
        None: None,
        "120": 120,
        " 7 ": 7,
        "0": 0,
        "soon": None,
        "-1": None,
        "1.5": None,
        "\u00b2": None,
        "": None,
        "Mon, 02 Mar 2026 12:01:30 GMT": 90,
        "Mon, 02 Mar 2026 12:00:00 GMT": 0,
        "Wed, 21 Oct 2015 07:28:00 GMT": 0,
        "Wed, 21 Oct 99999 07:28:00 GMT": None,
    }
    assert {value: parse_retry_after(value) for value in cases} == cases


def test_waits_double_and_stay_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    bounds: list[tuple[float, float]] = []

    def choose(low: float, high: float) -> float:
        bounds.append((low, high))
        return 1.0

    monkeypatch.setattr("ectools.fetch.retry.random.uniform", choose)
    retry = RetryPolicy(first_wait=1.5, longest_wait=10)
    assert [retry.next_pause(failures, None) for failures in range(1, 6)] == [1.5, 3, 6, 10, 10]
    assert set(bounds) == {(0.75, 1.25)}


def test_waits_are_spread() -> None:
    retry = RetryPolicy(first_wait=8, longest_wait=8)
    waits = [retry.next_pause(1, None) for _ in range(50)]
    assert all(6 <= wait <= 10 for wait in waits)
    assert len(set(waits)) > 1


def test_a_wait_that_is_asked_for_goes_before_ones_own() -> None:
    retry = RetryPolicy(first_wait=1, longest_wait=2, longest_retry_after=30)
    assert [retry.next_pause(9, seconds) for seconds in (0, 20, 30, 31)] == [0, 20, 30, 30]


def test_what_is_waited_unless_somebody_says() -> None:
    retry = RetryPolicy()
    waits = (retry.first_wait, retry.longest_wait, retry.longest_retry_after)
    assert (retry.attempts, *waits) == (6, 1, 60, 300)
    assert (retry.connect_seconds, retry.stall_seconds, retry.least_rate) == (20, 60, 1024)
