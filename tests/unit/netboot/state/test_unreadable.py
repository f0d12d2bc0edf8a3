"""The log's lines of what cannot be read: one a key, and few of many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.netboot.state.unreadable import MAX_KEYS, MAX_LINES, PERIOD_SECONDS, UnreadableLog

if TYPE_CHECKING:
    import pytest


def test_the_same_is_told_once_until_it_can_be_read(caplog: pytest.LogCaptureFixture) -> None:
    told = UnreadableLog(clock=lambda: 0.0)
    for why in ("no JSON", "no JSON", "no boot: within"):
        told.tell("latest/a", why)
    told.forget("latest/a")
    told.forget("never told")
    told.tell("latest/a", "no boot: within")
    fields = [record.fields for record in caplog.records]
    assert [each["key"] for each in fields] == ["latest/a"] * 3
    assert [each["reason"] for each in fields] == ["no JSON", "no boot: within", "no boot: within"]


def test_a_flood_is_a_few_lines_which_count_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    told = UnreadableLog(clock=lambda: now[0])
    for number in range(2 * MAX_KEYS):
        told.tell(f"latest/{number}", "x" * 10_000)
    assert len(caplog.records) == MAX_LINES
    assert max(len(record.fields["reason"]) for record in caplog.records) < 1000
    now[0] += PERIOD_SECONDS
    told.tell("latest/0", "x")  # who was told of first is not remembered any more
    assert caplog.records[-1].fields["unreported"] == 2 * MAX_KEYS - MAX_LINES
