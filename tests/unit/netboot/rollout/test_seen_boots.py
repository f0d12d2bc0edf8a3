"""Boots of a rollout's nodes: bounded, and what has failed is not forgotten."""

from __future__ import annotations

from support.page_samples import NOW, make_boot

from ectools.netboot.boots.model import BootState
from ectools.netboot.rollout.seen import MAX_SEEN_BOOTS, SeenBoots


def test_one_that_boots_again_and_again_keeps_what_has_failed() -> None:
    seen = SeenBoots()
    failed = make_boot("a", BootState.FAILED, ago=100_000, number=1)
    seen.see("a", failed)
    for number in range(2, 3 * MAX_SEEN_BOOTS):
        seen.see("a", make_boot("a", BootState.ABANDONED, ago=100_000 - number, number=number))
    newest = make_boot("a", BootState.HEALTHY, ago=1, number=9999)
    found = seen.list_boots("a", newest=newest)
    assert len(found) == MAX_SEEN_BOOTS + 1
    assert (found[0], found[-1]) == (failed, newest)
    assert found[0].started < NOW - 90_000


def test_who_is_forgotten_has_its_newest_alone() -> None:
    seen = SeenBoots()
    seen.see("a", make_boot("a", number=1))
    seen.forget(["a", "b"])
    assert seen.list_boots("a", newest=None) == []
