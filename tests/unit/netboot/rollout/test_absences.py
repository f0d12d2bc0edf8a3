"""Who was away in a rollout, and is back: since when their time counts anew."""

from __future__ import annotations

from dataclasses import replace

from ectools.netboot.rollout.absences import Absences
from ectools.netboot.rollout.model import Rollout, RolloutPlan, RolloutState

PLAN = RolloutPlan(id="r", group="lab", target="new", before="old")
ROLLOUT = Rollout(plan=PLAN, taken={"a": 1.0, "b": 2.0})


def test_who_was_held_and_is_let_go_has_its_time_again() -> None:
    absences = Absences()
    assert absences.look(ROLLOUT, {"a", "b"}, 10.0) == {}
    assert absences.look(ROLLOUT, {"b", "c"}, 20.0) == {}
    assert absences.look(ROLLOUT, {"a", "b"}, 30.0) == {"a": 30.0}
    assert absences.look(ROLLOUT, {"a", "b"}, 40.0) == {"a": 30.0}


def test_a_clock_that_was_set_back_puts_nobody_into_the_future() -> None:
    absences = Absences()
    absences.look(ROLLOUT, {"b"}, 50.0)
    absences.look(ROLLOUT, {"a", "b"}, 60.0)
    assert absences.look(ROLLOUT, {"a", "b"}, 5.0) == {"a": 5.0}


def test_an_end_and_another_rollout_know_of_nobody() -> None:
    absences = Absences()
    absences.look(ROLLOUT, {"b"}, 10.0)
    assert absences.look(replace(ROLLOUT, state=RolloutState.DONE), {"a", "b"}, 20.0) == {}
    absences.forget("lab")
    assert absences.look(ROLLOUT, {"a", "b"}, 30.0) == {}
