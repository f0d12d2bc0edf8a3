"""A boot as a strip: its segments follow each other, are as long as their time, and say what came after."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.page_samples import NOW, make_boot, make_detail

from ectools.netboot.api.page.facts import NodeDetail, NodeFacts
from ectools.netboot.api.page.strips import MAX_FAILED, MAX_STRIPS, build_node_page, build_strip
from ectools.netboot.boots.model import STAGES, BootState, NodeReport, NodeStage


def test_a_whole_boot() -> None:
    strip = build_strip(make_boot("a"), now=NOW, span=71.2)
    assert [(each.kind, each.label, each.duration) for each in strip.segments] == [
        ("first-stage", "first stage", "2.8 s"),
        ("script", "script", "1.3 s"),
        ("kernel", "kernel", "0.6 s"),
        ("initrd", "initrd", "8.8 s"),
        ("loaded", "unpacking", "0.4 s"),
        ("running", "kernel starts", "4.4 s"),
        ("up", "system starts", "17.3 s"),
    ]
    assert strip.took == "35.6 s"
    assert sum(each.width for each in strip.segments) == pytest.approx(50, abs=0.1)
    assert strip.spoken.startswith("healthy after 35.6 s: first stage 2.8 s, script 1.3 s, ")


@pytest.mark.parametrize(
    ("state", "ago", "kind", "duration"),
    [
        (BootState.BOOTING, 20.0, "waiting", "10.6 s"),
        (BootState.FAILED, 900.0, "lost", "9 min 51 s"),
        (BootState.ABANDONED, 900.0, "lost", "40.0 s"),
    ],
)
def test_what_came_after_the_last_stage(state: BootState, ago: float, kind: str, duration: str) -> None:
    boot = make_boot("a", state, ago=ago, until=NodeStage.INITRD)
    last = build_strip(boot, now=NOW, span=600).segments[-1]
    assert (last.kind, last.duration) == (kind, duration)


def test_a_boot_of_one_stage() -> None:
    boot = dataclasses.replace(make_boot("a", BootState.BOOTING, ago=0), stages={NodeStage.SCRIPT: NOW})
    strip = build_strip(boot, now=NOW, span=0)
    assert (strip.segments, strip.spoken) == ([], "booting after 0.0 s")


def test_strips_of_a_page_have_one_scale_and_a_long_silence_does_not_set_it() -> None:
    page = build_node_page(make_detail())
    healthy, failed = page.boots[1], page.boots[2]
    assert sum(each.width for each in healthy.segments) > 80
    assert failed.segments[-1].kind == "lost"
    assert sum(each.width for each in failed.segments) == pytest.approx(100, abs=0.01)


times = st.floats(NOW - 1e6, NOW + 1e6, allow_nan=False)


@given(
    stages=st.dictionaries(st.sampled_from(STAGES), times).flatmap(
        lambda drawn: times.map(lambda script: {**drawn, NodeStage.SCRIPT: script})
    ),
    state=st.sampled_from(BootState),
    ended=st.none() | times,
)
def test_segments_never_overlap_whatever_was_seen_when(
    stages: dict[NodeStage, float], state: BootState, ended: float | None
) -> None:
    boot = dataclasses.replace(make_boot("a"), stages=stages, state=state, ended=ended)
    page = build_node_page(NodeDetail(node=NodeFacts(subject="a", boot=boot), boots=[boot], now=NOW))
    segments = page.boots[0].segments
    for one, other in pairwise(segments):
        assert one.offset + one.width <= other.offset + 0.002
    for each in segments:
        assert each.width >= 0
        assert 0 <= each.offset <= 100
        assert each.offset + each.width <= 100.002


def test_a_report_is_bounded() -> None:
    report = NodeReport(
        release="r" * 500,
        failed=tuple(f"unit-{number}.service" for number in range(MAX_FAILED + 4)),
        seconds={"kernel": 2.0, "firmware": 70.0},
    )
    boots = [make_boot("a", number=number, report=report) for number in range(MAX_STRIPS + 1)]
    page = build_node_page(NodeDetail(node=NodeFacts(subject="a"), boots=boots, now=NOW), more=True)
    assert (len(page.boots), page.more) == (MAX_STRIPS, True)
    shown = page.boots[0].report
    assert shown is not None
    assert (len(shown.failed), shown.failed_hidden) == (MAX_FAILED, 4)
    assert shown.parts == [("firmware", "1 min 10 s"), ("kernel", "2.0 s")]
    assert shown.runs == "r" * 200 + "…"


def test_a_boot_by_kexec_is_called_so() -> None:
    boot = make_boot("a")
    assert build_strip(dataclasses.replace(boot, after="1-before"), now=NOW, span=1.0).is_kexec
    assert not build_strip(boot, now=NOW, span=1.0).is_kexec
