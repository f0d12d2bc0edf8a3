"""A rollout's panel: waves, who is where, what can be done; bounded, whatever the fleet is."""

from __future__ import annotations

import dataclasses

import pytest
from support.page_samples import NEW, NOW, OLD, make_rollouts

from ectools.netboot.api.page.rollouts import MAX_NAMES_SHOWN, MAX_PANELS, build_panel, build_panels
from ectools.netboot.rollout.model import RolloutState

DONE, RUNNING, STOPPED = make_rollouts()


def test_what_goes_on_comes_first_and_then_what_ended_last() -> None:
    panels, hidden = build_panels(make_rollouts(), NOW)
    assert [panel.group for panel in panels] == ["runners", "edge", "lab"]
    assert hidden == 0
    panel = panels[0]
    assert (panel.release, panel.before, panel.by, panel.started.age) == (NEW, OLD, "alice", "25 min")


def test_waves_are_over_open_or_to_come() -> None:
    steps = [(step.label, step.quota, step.standing) for step in build_panel(RUNNING, NOW).waves]
    assert steps == [
        ("canary", 1, "done"),
        ("wave 1", 3, "done"),
        ("wave 2", 10, "open"),
        ("wave 3", 39, "later"),
    ]
    assert {step.standing for step in build_panel(DONE, NOW).waves} == {"done"}
    assert {step.standing for step in build_panel(STOPPED, NOW).waves} == {"later"}


def test_who_is_where_is_named_up_to_a_bound_and_counted_all() -> None:
    panel = build_panel(RUNNING, NOW)
    assert [(each.label, each.count) for each in panel.lists] == [
        ("failed", 1),
        ("under way", 5),
        ("awaited", 30),
        ("healthy", 3),
    ]
    awaited = panel.lists[2]
    assert (len(awaited.nodes), awaited.hidden) == (MAX_NAMES_SHOWN, 30 - MAX_NAMES_SHOWN)
    assert panel.lists[0].nodes[0].why == "failed: every-channel-node.service"
    assert sum(each.share for each in panel.lists) == pytest.approx(100, abs=0.01)
    assert panel.spoken == "1 failed, 5 under way, 30 awaited, 3 healthy, of 39 nodes"


def test_who_has_failed_since_its_end_is_named() -> None:
    panel = build_panel(dataclasses.replace(DONE, failed_since=[("nuc-08", "no report")]), NOW)
    (failed, *_) = panel.lists
    assert (failed.label, failed.nodes[0].why) == ("failed since its end", "no report")


def test_shares_are_never_more_than_all() -> None:
    # Nodes that had it may be in the fleet no more.
    panel = build_panel(dataclasses.replace(RUNNING, size=4), NOW)
    assert sum(each.share for each in panel.lists) <= 100
    gone = build_panel(dataclasses.replace(RUNNING, size=0), NOW)
    assert sum(each.share for each in gone.lists) <= 100


@pytest.mark.parametrize(
    ("state", "turns"),
    [
        (RolloutState.RUNNING, ["pause", "abort"]),
        (RolloutState.PAUSED, ["resume", "abort"]),
        (RolloutState.DONE, []),
        (RolloutState.STOPPED, []),
        (RolloutState.ABORTED, []),
    ],
)
def test_what_can_be_done(state: RolloutState, turns: list[str]) -> None:
    panel = build_panel(dataclasses.replace(RUNNING, state=state), NOW)
    assert [name for name, _ in panel.turns] == turns


def test_panels_are_bounded() -> None:
    many = [dataclasses.replace(STOPPED, group=f"g{number}") for number in range(MAX_PANELS + 3)]
    panels, hidden = build_panels([*many, RUNNING], NOW)
    assert (len(panels), panels[0].group, hidden) == (MAX_PANELS, "runners", 4)
