"""A rollout comes back from the store as it was kept."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.page_samples import make_boot

from ectools.netboot.boots.model import BootState
from ectools.netboot.rollout.decide import MAX_FAILED_BESIDE, decide, start_rollout
from ectools.netboot.rollout.encode import decode_rollout, encode_rollout, measure_largest
from ectools.netboot.rollout.model import Known, Rollout, RolloutPlan, RolloutState
from ectools.netboot.state.interface import MAX_VALUE_BYTES

NAMES = st.text("ab-0", min_size=1, max_size=3)
TIMES = st.floats(0, 1e10)
PLANS = st.builds(
    RolloutPlan,
    id=NAMES,
    group=NAMES,
    target=NAMES,
    before=NAMES,
    canary=st.integers(1, 9),
    waves=st.lists(st.floats(0, 100), min_size=1, max_size=3).map(tuple),
    max_failures=st.integers(0, 9),
    within=st.floats(0, 1e8),
    off_after=st.floats(0, 1e8),
    at=TIMES,
    by=st.none() | NAMES,
    base=st.none() | NAMES,
    base_counter=st.none() | st.integers(0, 1 << 40),
)
ROLLOUTS = st.builds(
    Rollout,
    plan=PLANS,
    state=st.sampled_from(RolloutState),
    wave=st.integers(0, 1),
    opened=TIMES,
    taken=st.dictionaries(NAMES, TIMES, max_size=4),
    failed=st.dictionaries(NAMES, st.text(max_size=5), max_size=4),
    healthy=st.frozensets(NAMES, max_size=4),
    why=st.none() | st.text(max_size=5),
    ended=st.none() | TIMES,
    is_unsettled=st.booleans(),
    untold=st.frozensets(NAMES, max_size=4),
    claimed=st.none() | TIMES,
    seen_by=st.frozensets(NAMES, max_size=4),
)


@given(rollout=ROLLOUTS)
def test_it_comes_back_in_its_order(rollout: Rollout) -> None:
    found = decode_rollout(json.loads(json.dumps(encode_rollout(rollout))))
    assert found == rollout
    assert list(found.taken) == list(rollout.taken)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("plan", {}),
        ("plan", None),
        ("state", "odd"),
        ("state", []),
        ("wave", "x"),
        ("wave", 4),
        ("taken", 5),
        ("taken", [["a"]]),
        ("taken", [["a", 1e300]]),
        ("healthy", [{}]),
        ("healthy", None),
        ("untold", None),
        ("seen_by", [5]),
        ("opened", None),
        ("ended", "soon"),
    ],
)
def test_what_this_program_has_not_written_is_a_value_error(key: str, value: object) -> None:
    plan = RolloutPlan(id="r", group="g", target="t", before="b")
    with pytest.raises(ValueError, match=r".+"):
        decode_rollout({**encode_rollout(Rollout(plan=plan)), key: value})


def test_a_field_of_a_later_version_is_ignored() -> None:
    plan = RolloutPlan(id="r", group="g", target="t", before="b")
    raw = encode_rollout(Rollout(plan=plan))
    assert decode_rollout({**raw, "new": 1, "plan": {**raw["plan"], "new": 1}}) == Rollout(plan=plan)


def test_what_an_earlier_version_has_kept_can_be_read() -> None:
    plan = RolloutPlan(id="r", group="g", target="t", before="b")
    raw = encode_rollout(Rollout(plan=plan))
    for name in ("untold", "claimed", "seen_by"):
        del raw[name]
    del raw["plan"]["base_counter"]
    assert decode_rollout(raw) == Rollout(plan=plan)


def test_what_is_kept_of_a_rollout_is_never_larger_than_was_said_beforehand() -> None:
    """A last wave of which all report something long, at once: it is kept, and so it stops."""
    names = [f"node-{number:04}" for number in range(3000)]
    plan = RolloutPlan(id="r" * 16, group="g", target="t", before="b", max_failures=3, canary=3000)
    rollout = start_rollout(plan)
    rollout = replace(rollout, taken=dict.fromkeys(names, 1.0e9), healthy=frozenset(names[:1500]))
    said = "\u20ac" * 5000
    bad = make_boot("x", BootState.UNHEALTHY, ago=0, now=1.0e9 + 1, why=said)
    boots = {name: [replace(bad, node=name, release="t")] for name in names}
    known = Known(nodes=frozenset(names), boots=boots, heard={}, now=1.0e9 + 5)
    stopped = decide(rollout, known)
    assert stopped.state is RolloutState.STOPPED
    assert len(stopped.failed) == plan.max_failures + MAX_FAILED_BESIDE
    size = len(json.dumps(encode_rollout(stopped)))
    assert size <= measure_largest(plan, names) <= MAX_VALUE_BYTES
    assert measure_largest(plan, [f"node-{number:05}" for number in range(8000)]) > MAX_VALUE_BYTES
