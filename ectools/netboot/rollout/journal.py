"""What happens to rollouts, as events of the store and as lines of the log."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from ectools import log
from ectools.netboot.rollout.model import RolloutState
from ectools.netboot.state.interface import StateError

if TYPE_CHECKING:
    from ectools.netboot.rollout.model import Rollout
    from ectools.netboot.state.interface import StateStore

_log = log.Log(__name__)

_EVENTS = {
    "rollout-started": "a rollout has begun",
    "rollout-paused": "a rollout is paused",
    "rollout-resumed": "a rollout goes on",
    "rollout-aborted": "a rollout was ended: all go back to the release before",
    "rollout-node-failed": "a node has failed with the release of a rollout",
    "rollout-wave": "a rollout's next wave is open",
    "rollout-stopped": "a rollout has stopped: all go back to the release before",
    "rollout-done": "a rollout is done",
}
"""Kind of an event → what the log says of it."""


class RolloutJournal:
    """The events of one store."""

    def __init__(self, store: StateStore) -> None:
        self._store = store

    async def tell(self, rollout: Rollout, kind: str, *, by: str | None = None, **data: Any) -> None:
        """Something has happened to a rollout. Where the store cannot keep it, the log has it alone."""
        plan = rollout.plan
        told = {"release": plan.target, "before": plan.before, "why": rollout.why, **data}
        write = _log.warning if rollout.state is RolloutState.STOPPED else _log.info
        write(_EVENTS[kind], group=plan.group, by=by, **told)
        with contextlib.suppress(StateError):  # the store has said so; the rollout itself is kept
            await self._store.append(kind, subject=plan.group, by=by, data=told)
