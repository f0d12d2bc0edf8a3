"""The figures of nodes: each node once, whatever it is called, and as many series as there may be."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from support.fleets import make_fleet
from support.metrics import read_samples
from support.staged import make_release

from ectools.netboot.boots.counts import MAX_GROUPS, NO_GROUP, OTHER_GROUP, BootCounts
from ectools.netboot.boots.model import STAGES, BootState, NodeBoot, NodeStage
from ectools.netboot.fleet.model import NodeTarget
from ectools.netboot.fleet.override import BootOnce, NodeHold, NodeOverride
from ectools.netboot.server.metrics_nodes import FiguresInForce, NodeFigures, render_boots
from ectools.netboot.server.metrics_table import MAX_NODE_SERIES, MAX_RELEASES, OTHER_RELEASE, REPORT_RESULTS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ectools.netboot.release.manifest import Release

SERVED = make_release()


def make_boot(node: str | None = None, **more: Any) -> NodeBoot:
    fields = {"machine": "mac 02:00:00:00:00:99", "release": "r1", "system": "s", "group": "runners", **more}
    return NodeBoot(id="b", token_hash="", node=node, stages={NodeStage.SCRIPT: 100.0}, **fields)


def make_nodes(number: int, *, groups: int = 1, **more: Any) -> dict[str, Any]:
    names = {
        f"n-{index}": {
            "match": {"mac": [f"02:00:00:{index >> 16:02x}:{index >> 8 & 255:02x}:{index & 255:02x}"]},
            "group": f"g-{index % groups}",
            **more,
        }
        for index in range(number)
    }
    return {"groups": {f"g-{index}": {} for index in range(groups)}, "nodes": names}


def render(document: dict[str, Any], latest: Mapping[str, NodeBoot], served: Release | None = None) -> str:
    return NodeFigures(make_fleet(**document)).render(latest, served=served)


def test_a_node_is_counted_by_its_newest_boot_and_without_one_by_what_it_waits_for() -> None:
    document = make_nodes(2)
    document["nodes"] |= {
        "still": {"match": {"serial": "S1"}, "hold": True},
        "disk": {"match": {"serial": "S2"}, "boot": "disk"},
        "held-later": {"match": {"serial": "S3"}, "hold": True, "group": "g-0"},
    }
    latest = {
        "n-1": make_boot("n-1", group="g-0", tag="boot-v1", state=BootState.FAILED),
        "held-later": make_boot("held-later", group="another-then", state=BootState.HEALTHY),
        "mac 02:00:00:00:00:99": make_boot(None, group=None, release="r2", state=BootState.UNHEALTHY),
        # The fleet had it once.
        "gone": make_boot("gone"),
        # The fleet has it by now, and counts it as that.
        "mac 02:00:00:00:00:00, serial X": make_boot(None, machine="mac 02:00:00:00:00:00, serial X"),
        # It is known as two nodes, and is neither.
        "torn": make_boot(None, release="r3", machine="mac 02:00:00:00:00:00, serial S1"),
    }
    text = render(document, latest, SERVED)
    assert read_samples(text, "nodes") == {
        ("g-0", "", "unseen"): 1,
        ("g-0", "r1", "failed"): 1,
        ("g-0", "r1", "healthy"): 1,
        ("", "", "held"): 1,
        ("", "", "disk"): 1,
        ("", "r2", "unhealthy"): 1,
        ("", "r3", "booting"): 1,
    }
    assert read_samples(text, "release_info") == {
        ("r1", "boot-v1"): 1,
        ("r2", ""): 1,
        ("r3", ""): 1,
        (SERVED.id, "boot-v1"): 1,
    }
    assert read_samples(text, "node_info") == {
        ("disk", ""): 1,
        ("held-later", "g-0"): 1,
        ("n-0", "g-0"): 1,
        ("n-1", "g-0"): 1,
        ("still", ""): 1,
    }
    assert read_samples(text, "node_info_left_out") == {(): 0}


def test_without_a_fleet_and_without_boots_there_is_nothing() -> None:
    text = render({}, {})
    assert read_samples(text, "nodes") == read_samples(text, "release_info") == {}


def test_ten_thousand_nodes_of_a_thousand_groups_and_releases_have_few_series() -> None:
    number = MAX_NODE_SERIES + 7
    document = make_nodes(number, groups=1000)
    states = [*BootState]
    latest = {
        f"n-{index}": make_boot(f"n-{index}", release=f"r-{index % 997}", state=states[index % 5])
        for index in range(number - 10)
    }
    text = render(document, latest)
    nodes = read_samples(text, "nodes")
    assert len(nodes) <= (MAX_GROUPS + 2) * (MAX_RELEASES + 2) * 6
    assert sum(nodes.values()) == number
    assert len({group for group, _, _ in nodes}) == MAX_GROUPS + 1
    assert {release for _, release, _ in nodes} >= {"", OTHER_RELEASE}
    assert len({release for _, release, _ in nodes}) == MAX_RELEASES + 2
    assert len(read_samples(text, "release_info")) == MAX_RELEASES
    assert len(read_samples(text, "node_info")) == MAX_NODE_SERIES
    assert read_samples(text, "node_info_left_out") == {(): 7}


def test_the_releases_of_most_nodes_are_those_that_are_told_apart() -> None:
    document = make_nodes(100)
    latest = {
        f"n-{index}": make_boot(f"n-{index}", release="of-most" if index % 2 else f"r-{index:03}")
        for index in range(100)
    }
    releases = [release for _, release, _ in read_samples(render(document, latest), "nodes")]
    assert sorted(releases) == ["_other", "of-most", *(f"r-{index:03}" for index in range(0, 38, 2))]


HOSTILE = st.text(max_size=40)


@given(release=HOSTILE, tag=HOSTILE, machine=HOSTILE, group=HOSTILE)
def test_whatever_names_are_no_line_is_another(release: str, tag: str, machine: str, group: str) -> None:
    latest = {machine: make_boot(None, machine=machine, group=group, release=release, tag=tag)}
    text = render({}, latest)
    counts = BootCounts()
    counts.begin(latest[machine])
    counts.conclude(replace(latest[machine], state=BootState.HEALTHY, ended=101.0))
    # Python's lines are more than Prometheus's: only \n ends one.
    for line in (text + "".join(render_boots(counts, groups=[group]))).split("\n")[:-1]:
        assert re.fullmatch(
            r'# (HELP|TYPE) \w+ .+|\w+({\w+="([^"\\]|\\[\\"n])*"(,\w+="([^"\\]|\\[\\"n])*")*})? [0-9.e+]+',
            line,
        ), line


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["n-0", "n-1", "n-2", None]),
            st.sampled_from(["r1", "r2"]),
            st.sampled_from([*BootState]),
        ),
        max_size=6,
    )
)
def test_every_node_is_counted_once(boots: list[tuple[str | None, str, BootState]]) -> None:
    latest = {
        node or f"machine-{index}": make_boot(node, machine=f"machine-{index}", release=release, state=state)
        for index, (node, release, state) in enumerate(boots)
    }
    nodes = read_samples(render(make_nodes(3), latest), "nodes")
    assert sum(nodes.values()) == len({"n-0", "n-1", "n-2", *latest})
    booted: Counter[str] = Counter(boot.state for boot in latest.values())
    for state in BootState:
        assert sum(count for (_, _, each), count in nodes.items() if each == state) == booted[state]


def test_figures_are_made_once_for_a_change() -> None:
    base, changed = NodeFigures(make_fleet(**make_nodes(2))), make_fleet(**make_nodes(3))
    figures = FiguresInForce()
    assert figures.find(base.fleet, base=base) is base
    of_changed = figures.find(changed, base=base)
    assert (of_changed.fleet, figures.find(changed, base=base)) == (changed, of_changed)
    again = make_fleet(**make_nodes(4))
    of_again = figures.find(again, base=base)
    assert of_again.fleet is again
    assert figures.find(base.fleet, base=base) is base
    # What is not in force takes no memory.
    assert figures.find(again, base=base) is not of_again


def test_totals() -> None:
    counts = BootCounts()
    boot = make_boot("n-0", group=None)
    counts.begin(boot)
    for stage in STAGES[3:]:
        boot = replace(boot, stages={**boot.stages, stage: 100.0 + STAGES.index(stage)})
        counts.reach(boot, stage)
    counts.conclude(replace(boot, state=BootState.HEALTHY, ended=107.0))
    counts.reports.update(["accepted", "refused"])
    text = "".join(render_boots(counts, groups=["g-0"]))
    assert read_samples(text, "boots_begun_total") == {(NO_GROUP,): 1, ("g-0",): 0}
    # What has not come to pass counts from zero on.
    assert read_samples(text, "boots_ended_total") == {
        (group, state): int((group, state) == (NO_GROUP, BootState.HEALTHY))
        for group in (NO_GROUP, "g-0")
        for state in BootState
        if state is not BootState.BOOTING
    }
    assert read_samples(text, "boot_seconds_sum") == {(NO_GROUP,): 7}
    assert read_samples(text, "boot_stage_seconds_sum") == {
        (NO_GROUP, "kernel"): 3,
        **{(NO_GROUP, str(stage)): 1 for stage in STAGES[4:]},
    }
    assert read_samples(text, "reports_total") == {
        (result,): int(result in {"accepted", "refused"}) for result in REPORT_RESULTS
    }


def test_what_is_nobodys_is_no_groups_name() -> None:
    for name in (NO_GROUP, OTHER_GROUP):
        assert not re.match(r"[A-Za-z0-9]", name)


def test_a_node_that_is_held_is_counted_as_that_unless_it_boots_or_runs() -> None:
    states = ("failed", "unhealthy", "abandoned", "booting", "healthy")
    document = make_nodes(len(states) + 3)
    latest = {
        f"n-{number}": make_boot(f"n-{number}", state=BootState(state)) for number, state in enumerate(states)
    }
    unseen, once, failed = (f"n-{len(states) + number}" for number in range(3))
    latest[failed] = make_boot(failed, state=BootState.FAILED)
    held = NodeOverride(hold=NodeHold(at=1.0))
    overrides = dict.fromkeys([*latest, unseen, "gone"], held)
    boots_once = replace(held, once=BootOnce(boot=NodeTarget.NETWORK, at=2.0))
    overrides |= {once: boots_once, failed: boots_once}
    text = NodeFigures(make_fleet(**document)).render(latest, served=None, overrides=overrides)
    assert read_samples(text, "nodes") == {
        ("g-0", "r1", "held"): 3,
        ("g-0", "r1", "booting"): 1,
        ("g-0", "r1", "healthy"): 1,
        ("g-0", "r1", "failed"): 1,
        ("g-0", "", "held"): 1,
        ("g-0", "", "unseen"): 1,
    }
