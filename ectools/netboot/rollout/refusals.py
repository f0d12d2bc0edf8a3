"""What is said to who asks something of a rollout that cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.errors import InputError

if TYPE_CHECKING:
    from ectools.netboot.rollout.model import Rollout


class RolloutConflictError(InputError):
    """What is asked for contradicts how the group's rollout stands."""


class UnknownRolloutError(InputError):
    """The group has no rollout."""


def need_rollout(now: Rollout | None) -> Rollout:
    """A rollout that was there a moment ago. Raises UnknownRolloutError."""
    if now is None:
        raise UnknownRolloutError("this group has no rollout any more")
    return now
