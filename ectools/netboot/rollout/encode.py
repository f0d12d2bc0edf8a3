"""Rollouts as JSON, as they stand in the store: ``Rollout`` → a mapping, and back."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from ectools.errors import MAX_SHOWN_CHARS
from ectools.netboot.rollout.decide import MAX_FAILED_BESIDE
from ectools.netboot.rollout.model import Rollout, RolloutPlan, RolloutState

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

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
        "left": rollout.is_left,
    }


def measure_largest(plan: RolloutPlan, nodes: Collection[str]) -> int:
    """Bytes of a rollout to these nodes when it is at its largest, as JSON."""
    count = min(len(nodes), plan.max_failures + MAX_FAILED_BESIDE)
    largest = Rollout(
        plan=plan,
        taken=dict.fromkeys(nodes, 1e9 / 3),
        healthy=frozenset(nodes),
        failed=dict.fromkeys(sorted(nodes, key=len)[-count:], "\u20ac" * (MAX_SHOWN_CHARS + 32)),
        why="\u20ac" * 4096,
    )
    return len(json.dumps(encode_rollout(largest)))


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
            is_left=bool(raw.get("left", False)),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no rollout: {error}") from error
