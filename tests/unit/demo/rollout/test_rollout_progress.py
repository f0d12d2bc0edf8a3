"""What is drawn of nodes and a rollout as they change."""

from __future__ import annotations

from typing import Any

from ectools.demo.rollout.progress import RolloutProgress, describe_standing, is_settled

OLD, NEW = {"id": "sha256-1", "tag": "v1"}, {"id": "sha256-2", "tag": "v2"}


def node(
    name: str, state: str | None, release: Any = OLD, *, boot: str = "b1", why: str | None = None
) -> Any:
    given = None if state is None else release
    return {"name": name, "state": state, "release": given, "boot": boot if state else None, "why": why}


def rollout(state: str = "running", wave: int = 0, **fields: Any) -> Any:
    standing = {"id": "r", "release": NEW, "waves": [1, 2], "nodes": 2, "why": None}
    return {**standing, "state": state, "wave": wave, **fields}


def texts(progress: RolloutProgress, nodes: list[Any], found: Any = None) -> list[str]:
    signs = {True: "+", False: "-", None: "."}
    return [f"{signs[line.good]} {line.text}" for line in progress.look(nodes, found)]


def test_each_thing_is_told_once() -> None:
    progress = RolloutProgress()
    silent = [node("a", None), node("b", None)]
    assert texts(progress, silent) == []
    booting = [node("a", "booting"), node("b", None)]
    assert texts(progress, booting) == [". a: v1: boots"]
    assert texts(progress, booting) == []
    assert texts(progress, [node("a", "healthy"), node("b", None)]) == ["+ a: v1: up, healthy"]
    again = [node("a", "booting", NEW, boot="b2"), node("b", None)]
    assert texts(progress, again) == [". a: v2: boots"]
    bad = [node("a", "unhealthy", NEW, boot="b2", why="failed: x.service"), node("b", None)]
    assert texts(progress, bad) == ["- a: v2: unhealthy: failed: x.service"]


def test_waves_and_the_end_are_told() -> None:
    progress = RolloutProgress()
    assert texts(progress, [], rollout()) == [". the canary's wave is open: 1 of 2 nodes may have v2"]
    assert texts(progress, [], rollout()) == []
    assert texts(progress, [], rollout(wave=1)) == [". wave 1 is open: 2 of 2 nodes may have v2"]
    assert texts(progress, [], rollout("done", 1)) == ["+ the rollout of v2 is done"]
    other = rollout("stopped", id="r2", why="1 node has failed")
    assert texts(progress, [], other) == ["- the rollout of v2 has stopped by itself: 1 node has failed"]
    assert texts(progress, [], other) == []


def test_how_it_stands() -> None:
    nodes = [node("a", "healthy"), node("b", None), node("c", "booting", NEW)]
    assert describe_standing(nodes) == "a ● v1  b · -  c ◐ v2"
    assert not is_settled(nodes, "v1")
    assert is_settled(nodes[:1], "v1")
    assert not is_settled(nodes[:1], "v2")
