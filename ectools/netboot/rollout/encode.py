"""Rollouts as JSON, as they stand in the store: ``Rollout`` → a mapping, and back."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ectools.errors import MAX_SHOWN_CHARS
from ectools.netboot.rollout.decide import MAX_FAILED_BESIDE
from ectools.netboot.rollout.model import Rollout, RolloutPlan, RolloutState
from ectools.netboot.state.decode import (
    MAX_LONG_TEXT,
    MAX_TIME,
    need_list,
    need_mapping,
    need_number,
    need_text,
    read_count,
    read_flag,
    read_period,
    read_text,
    read_text_if_any,
    read_time,
    read_time_if_any,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

_MAX_WAVES = 100
_MAX_COUNT = 1_000_000
_HOSTS = 16  # boot hosts that there is room for


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
        "untold": sorted(rollout.untold),
        "why": rollout.why,
        "ended": rollout.ended,
        "unsettled": rollout.is_unsettled,
        "claimed": rollout.claimed,
        "left": rollout.is_left,
        "seen_by": sorted(rollout.seen_by),
    }


def measure_largest(plan: RolloutPlan, nodes: Collection[str]) -> int:
    """Bytes of a rollout to these nodes when it is at its largest, as JSON."""
    count = min(len(nodes), plan.max_failures + MAX_FAILED_BESIDE)
    # Who is healthy is not untold: that list is no larger.
    largest = Rollout(
        plan=plan,
        taken=dict.fromkeys(nodes, 1e9 / 3),
        healthy=frozenset(nodes),
        failed=dict.fromkeys(sorted(nodes, key=len)[-count:], "\u20ac" * (MAX_SHOWN_CHARS + 32)),
        why="\u20ac" * 4096,
        ended=1e9 / 3,
        claimed=1e9 / 3,
        seen_by=frozenset(f"{number:063}" for number in range(_HOSTS)),
    )
    return len(json.dumps(encode_rollout(largest)))


def decode_rollout(raw: Mapping[str, Any]) -> Rollout:
    """Raises ValueError: it is no rollout that this program has written."""
    try:
        plan = _decode_plan(need_mapping(raw.get("plan"), "plan"))
        return Rollout(
            plan=plan,
            state=RolloutState(read_text(raw, "state")),
            wave=read_count(raw, "wave", most=plan.last_wave),
            opened=read_time(raw, "opened"),
            taken={node: need_number(at, "taken", most=MAX_TIME) for node, at in _read_pairs(raw, "taken")},
            failed={
                node: need_text(why, "failed", most=MAX_LONG_TEXT) for node, why in _read_pairs(raw, "failed")
            },
            healthy=_read_names(raw, "healthy"),
            # The versions before had none of these.
            untold=_read_names(raw, "untold", otherwise=[]),
            why=read_text_if_any(raw, "why", most=MAX_LONG_TEXT),
            ended=read_time_if_any(raw, "ended"),
            is_unsettled=read_flag(raw, "unsettled"),
            claimed=read_time_if_any(raw, "claimed"),
            is_left=read_flag(raw, "left"),
            seen_by=_read_names(raw, "seen_by", otherwise=[]),
        )
    except ValueError as error:
        raise ValueError(f"no rollout: {error}") from error


def _decode_plan(raw: Mapping[str, Any]) -> RolloutPlan:
    waves = need_list(raw.get("waves"), "waves", most=_MAX_WAVES)
    if not waves:
        raise ValueError("waves: there is none")
    return RolloutPlan(
        id=read_text(raw, "id"),
        group=read_text(raw, "group"),
        target=read_text(raw, "target"),
        before=read_text(raw, "before"),
        canary=read_count(raw, "canary", most=_MAX_COUNT, otherwise=1),
        waves=tuple(need_number(each, "waves", most=100) for each in waves),
        max_failures=read_count(raw, "max_failures", most=_MAX_COUNT, otherwise=1),
        within=read_period(raw, "within", otherwise=600.0),
        off_after=read_period(raw, "off_after", otherwise=86400.0),
        at=read_time(raw, "at"),
        by=read_text_if_any(raw, "by"),
        base=read_text_if_any(raw, "base"),
        base_id=read_text_if_any(raw, "base_id"),
        base_counter=None if raw.get("base_counter") is None else read_count(raw, "base_counter"),
    )


def _read_names(raw: Mapping[str, Any], name: str, *, otherwise: Any = None) -> frozenset[str]:
    return frozenset(need_text(each, name) for each in need_list(raw.get(name, otherwise), name))


def _read_pairs(raw: Mapping[str, Any], name: str) -> Iterator[tuple[str, Any]]:
    for pair in need_list(raw.get(name), name):
        if len(need_list(pair, name, most=2)) != 2:
            raise ValueError(f"{name}: no pair")
        yield need_text(pair[0], name), pair[1]
