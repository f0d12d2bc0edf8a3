"""The list of nodes: who needs somebody comes first, and what is counted is what is shown."""

from __future__ import annotations

import dataclasses
import shlex
from collections import Counter
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.page_samples import IDS, NEW, NOW, OLD, make_boot, make_fleet

from ectools.netboot.api.page.facts import FleetFacts, NextBoot, NodeFacts
from ectools.netboot.api.page.filters import RowFilter, RowOrder, RowState, parse_filter
from ectools.netboot.api.page.rows import MAX_ROWS, MAX_UNKNOWN, MAX_UNSTAGED, build_fleet_page, build_row
from ectools.netboot.api.unstaged import UnstagedRelease
from ectools.netboot.boots.model import BootInstall, BootState, NodeStage


def test_every_state_of_a_boot_is_one_of_a_row() -> None:
    assert {each.value for each in BootState} | {"silent"} == {each.value for each in RowState}


def test_counts_and_the_summary_are_of_all_nodes_and_not_of_those_that_are_shown() -> None:
    page = build_fleet_page(make_fleet(40), RowFilter(state=RowState.FAILED))
    assert page.summary == "40 nodes: 30 healthy, 4 booting, 2 unhealthy, 2 failed, 2 silent"
    assert page.title == "4 of 40 failed"
    assert [row.name for row in page.rows] == ["nuc-08", "nuc-28"]
    assert {tile.label: tile.count for tile in page.tiles} == {
        "all": 40,
        "healthy": 30,
        "booting": 4,
        "unhealthy": 2,
        "failed": 2,
        "silent": 2,
    }
    assert sum(tile.share for tile in page.tiles) == pytest.approx(100)
    assert [tile.label for tile in page.tiles if tile.is_chosen] == ["failed"]
    assert page.groups == ["edge", "lab", "runners"]


def test_a_fleet_without_a_node_or_a_release() -> None:
    page = build_fleet_page(FleetFacts(nodes=(), now=NOW), RowFilter())
    assert (page.summary, page.title, page.rows, page.release) == ("No machine yet", "Fleet", [], None)
    assert {tile.share for tile in page.tiles} == {0}


def test_what_is_not_staged_here_is_a_sentence_each_up_to_a_bound() -> None:
    lacking = [
        UnstagedRelease(release=f"boot-v{number}", groups=("lab", "runners"))
        for number in range(MAX_UNSTAGED + 2)
    ]
    facts = dataclasses.replace(make_fleet(2), unstaged=lacking)
    page = build_fleet_page(facts, RowFilter())
    assert (len(page.unstaged), page.unstaged_hidden) == (MAX_UNSTAGED, 2)
    assert page.unstaged[0].startswith("boot-v0 is not staged on this host: nodes of lab, runners that ask")
    assert build_fleet_page(make_fleet(2), RowFilter()).unstaged == []


def test_rows_are_bounded_and_say_how_many_more_there_are() -> None:
    fleet = make_fleet(MAX_ROWS + 30, unknown=MAX_UNKNOWN + 7)
    page = build_fleet_page(fleet, RowFilter())
    assert (len(page.rows), page.hidden) == (MAX_ROWS, 30)
    assert (len(page.unknown), page.unknown_hidden) == (MAX_UNKNOWN, 7)


def test_the_urgent_come_first_and_each_order_is_total() -> None:
    page = build_fleet_page(make_fleet(40), RowFilter())
    states = [row.state for row in page.rows]
    assert states == sorted(states, key=list(RowState).index)
    by_name = build_fleet_page(make_fleet(120), RowFilter(order=RowOrder.NAME))
    assert [row.name for row in by_name.rows] == [f"nuc-{number:02d}" for number in range(1, 121)]
    since = build_fleet_page(make_fleet(40), RowFilter(order=RowOrder.SINCE))
    moments = [row.since.machine for row in since.rows if row.since]
    assert moments == sorted(moments, reverse=True)
    assert [row.state for row in since.rows[-2:]] == [RowState.SILENT, RowState.SILENT]
    for order, part in ((RowOrder.GROUP, "group"), (RowOrder.RELEASE, "release")):
        rows = build_fleet_page(make_fleet(40), RowFilter(order=order)).rows
        values = [getattr(row, part) for row in rows]
        there = [value for value in values if value is not None]
        assert values == sorted(there) + [None] * (len(values) - len(there))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("nuc-08", ["nuc-08"]),
        ("NUC-0 failed:", ["nuc-04"]),
        ("00:00:07", ["nuc-08"]),
        ("initrd no report", ["nuc-08", "nuc-28"]),
        ("nothing like it", []),
    ],
)
def test_all_words_of_a_text_are_found_in_a_row(text: str, names: list[str]) -> None:
    page = build_fleet_page(make_fleet(40), RowFilter(text=text))
    assert [row.name for row in page.rows] == names


def test_what_stands_in_a_row() -> None:
    booting = make_boot("a", BootState.BOOTING, ago=20, until=NodeStage.INITRD)
    row = build_row(NodeFacts(subject="a/b c", boot=booting, group="runners"), NOW)
    assert (row.link, row.detail, row.progress, row.since and row.since.age) == (
        "/nodes/a%2Fb%20c",
        "initrd fetched",
        (4, 7),
        "20 s",
    )
    assert (row.release, row.release_id, row.machine) == (NEW, IDS[NEW], booting.machine)
    failed = make_boot("a", BootState.FAILED, ago=900, until=NodeStage.KERNEL)
    assert build_row(NodeFacts(subject="a", boot=failed), NOW).detail == "last seen: kernel fetched"
    untagged = dataclasses.replace(failed, tag=None)
    assert build_row(NodeFacts(subject="a", boot=untagged), NOW).release == "c0dec0dec0de…"


def test_a_boot_that_installs_has_a_longer_way() -> None:
    booting = make_boot("a", BootState.BOOTING, ago=20, until=NodeStage.RUNNING)
    installs = dataclasses.replace(booting, install=BootInstall(order="1"))
    installed = dataclasses.replace(
        installs, stages={**installs.stages, NodeStage.INSTALLING: NOW, NodeStage.INSTALLED: NOW}
    )
    found = [build_row(NodeFacts(subject="a", boot=each), NOW) for each in (booting, installs, installed)]
    assert [row.progress for row in found] == [(6, 7), (6, 9), (8, 9)]


def test_the_release_of_the_next_boot_is_said_where_it_is_another() -> None:
    boot = make_boot("a", tag=OLD)
    cases = {
        NextBoot(release=IDS[OLD], tag=OLD): None,
        NextBoot(release=IDS[NEW], tag=NEW): NEW,
        NextBoot(release=IDS[NEW]): "c0dec0dec0de…",
        NextBoot(release=None, tag="boot-v9"): "boot-v9, not staged",
        None: None,
    }
    for next_boot, said in cases.items():
        assert build_row(NodeFacts(subject="a", boot=boot, next=next_boot), NOW).next == said
    assert build_row(NodeFacts(subject="a", next=NextBoot(release=IDS[NEW], tag=NEW)), NOW).next == NEW


def test_rows_by_name_are_those_alone_and_all_are_counted() -> None:
    page = build_fleet_page(make_fleet(40), RowFilter(state=RowState.FAILED), names={"nuc-08", "nuc-01", "x"})
    assert [row.name for row in page.rows] == ["nuc-08"]
    assert page.summary.startswith("40 nodes: ")


def test_machines_that_are_no_node_come_with_the_command_that_makes_them_one() -> None:
    fleet = make_fleet(3, unknown=2)
    odd = NodeFacts(subject="serial a'b $x", is_known=False, known_by=("serial a'b $x",))
    nobody = NodeFacts(subject="nothing that it is known by", is_known=False)
    page = build_fleet_page(dataclasses.replace(fleet, nodes=[*fleet.nodes, odd, nobody]), RowFilter())
    assert (len(page.rows), page.has_names) == (3, True)
    commands = [machine.command for machine in page.unknown]
    assert commands[0] == "ectools fleet add NAME --group GROUP --mac 02:00:00:ff:00:00 --serial PF0000"
    assert None in commands
    argv = [shlex.split(command) for command in commands if command and "$x" in command]
    assert argv == [["ectools", "fleet", "add", "NAME", "--group", "GROUP", "--serial", "a'b $x"]]


def test_without_any_name_each_machine_is_a_row() -> None:
    page = build_fleet_page(make_fleet(0, unknown=3), RowFilter())
    assert (page.summary, page.unknown, page.has_names) == ("3 machines: 3 healthy", [], False)
    assert [row.name for row in page.rows] == ["02:00:00:ff:00:00", "02:00:00:ff:00:01", "02:00:00:ff:00:02"]


filters = st.builds(
    RowFilter,
    state=st.none() | st.sampled_from(RowState),
    group=st.none() | st.text(min_size=1, max_size=20),
    text=st.text(max_size=20).map(str.strip),
    order=st.sampled_from(RowOrder),
)


@given(filters)
def test_a_filter_is_its_link_and_back(wanted: RowFilter) -> None:
    link = urlsplit(wanted.link())
    assert parse_filter(dict(parse_qsl(link.query))) == wanted
    assert link.path == "/"
    assert wanted.is_narrow is bool(dict(parse_qsl(link.query)).keys() - {"order"})


@given(filters)
def test_a_filter_leaves_out_rows_and_changes_none(wanted: RowFilter) -> None:
    every = Counter(build_fleet_page(make_fleet(25), RowFilter()).rows)
    assert not Counter(build_fleet_page(make_fleet(25), wanted).rows) - every


def test_what_an_address_says_that_is_not_known_is_left_out() -> None:
    assert parse_filter({"state": "odd", "order": "odd", "page": "9"}) == RowFilter()
    assert len(parse_filter({"text": "x" * 999}).text) == 200
