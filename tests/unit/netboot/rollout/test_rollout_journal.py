"""What is told of rollouts: an event each, and no harm where it cannot be kept."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from support.fleet_api import MemoryStore

from ectools.netboot.rollout.decide import start_rollout
from ectools.netboot.rollout.journal import RolloutJournal
from ectools.netboot.rollout.model import RolloutPlan
from ectools.netboot.state.interface import StateError

if TYPE_CHECKING:
    import pytest

ROLLOUT = start_rollout(RolloutPlan(id="r", group="g", target="new", before="old"))


class FullStore(MemoryStore):
    """A store whose disk is full."""

    async def append(self, *_: object, **__: object) -> None:  # type: ignore[override] # it returns nothing
        raise StateError("the disk is full")


def test_an_event_names_the_group_who_did_it_and_the_releases() -> None:
    store = MemoryStore()
    asyncio.run(RolloutJournal(store).tell(ROLLOUT, "rollout-node-failed", by="alice", node="n"))
    (event,) = store.log
    assert (event.kind, event.subject, event.by) == ("rollout-node-failed", "g", "alice")
    assert event.data == {"release": "new", "before": "old", "why": None, "node": "n"}


def test_what_cannot_be_kept_is_in_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        asyncio.run(RolloutJournal(FullStore()).tell(ROLLOUT, "rollout-started"))
    assert "a rollout has begun" in caplog.text
