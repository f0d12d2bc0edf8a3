"""Rollouts as JSON, as they stand in the store: ``Rollout`` → a mapping, and back."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from ectools.netboot.rollout.model import Rollout, RolloutPlan, RolloutState

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLAN = tuple(each.name for each in fields(RolloutPlan))


def encode_rollout(rollout: Rollout) -> dict[str, Any]:
    """What ``decode_rollout`` reads."""
    plan = asdict(rollout.plan)
    return {
        "plan": {**plan, "waves": list(rollout.plan.waves)},
        "state": rollout.state.value,
        "wave": rollout.wave,
        "opened": rollout.opened,
        # A list: the order in which nodes were given the release is a part of it.
        "taken": [[node, at] for node, at in rollout.taken.items()],
        "failed": [[node, why] for node, why in rollout.failed.items()],
        "healthy": sorted(rollout.healthy),
        "why": rollout.why,
        "ended": rollout.ended,
        "unsettled": rollout.is_unsettled,
    }


def decode_rollout(raw: Mapping[str, Any]) -> Rollout:
    """Raises ValueError: it is no rollout that this program has written."""
    try:
        plan = {name: raw["plan"][name] for name in _PLAN if name in raw["plan"]}
        return Rollout(
            plan=RolloutPlan(**{**plan, "waves": tuple(float(each) for each in plan["waves"])}),
            state=RolloutState(raw["state"]),
            wave=int(raw["wave"]),
            opened=float(raw["opened"]),
            taken={str(node): float(at) for node, at in raw["taken"]},
            failed={str(node): str(why) for node, why in raw["failed"]},
            healthy=frozenset(raw["healthy"]),
            why=raw.get("why"),
            ended=raw.get("ended"),
            is_unsettled=bool(raw.get("unsettled", False)),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no rollout: {error}") from error
