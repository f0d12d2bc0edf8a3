"""How many journals are in memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ectools.netboot.boots import journals
from ectools.netboot.boots.journals import JournalBudget


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 300)), max_size=40))
def test_the_newest_stay_and_their_sum_is_bounded(steps: list[tuple[str, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journals, "MAX_JOURNAL_BYTES", 1000)
        budget, there = JournalBudget(), {}
        for boot, length in steps:
            there.pop(boot, None)
            if length:
                there[boot] = "x" * length
            for gone in budget.take(boot, "x" * length):
                assert gone == next(iter(there))
                del there[gone]
            assert sum(len(each) + 49 for each in there.values()) <= 1100


def test_what_is_forgotten_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "MAX_JOURNAL_BYTES", 200)
    budget = JournalBudget()
    assert budget.take("a", "x" * 100) == []
    budget.forget("a")
    budget.forget("never there")
    assert budget.take("b", "x" * 100) == []
    assert budget.take("c", "x" * 100) == ["b"]
