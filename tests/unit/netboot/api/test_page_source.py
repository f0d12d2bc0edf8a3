"""What the boot server knows, as the page is told of it."""

from __future__ import annotations

import asyncio

import pytest
from support.fleet_api import CURRENT, NOW, PREVIOUS, Api, make_boot

from ectools.netboot.api.page.filters import RowFilter
from ectools.netboot.api.page.render import Viewer, render_fleet
from ectools.netboot.api.page.rows import build_fleet_page
from ectools.netboot.api.page.source import find_detail, list_facts
from ectools.netboot.api.rows import list_subjects
from ectools.netboot.fleet.live import UnknownNodeError


def test_each_node_and_each_machine_is_told_of_once() -> None:
    api = Api()
    api.boots.note(make_boot())
    api.boots.note(make_boot(None, id="b-9", machine="mac 02:00:00:00:00:99, serial S-9"))
    facts = list_facts(api.fleet, api.boots.latest, [CURRENT, PREVIOUS], now=NOW)
    assert sorted(each.subject for each in facts.nodes) == sorted(
        ["nuc-07", "nuc-08", "on-disk", "mac 02:00:00:00:00:99, serial S-9"]
    )
    assert facts.release is not None
    assert (facts.release.tag, facts.release.staged) == (CURRENT.tag, CURRENT.staged_at)


def test_without_a_release_there_is_none_to_tell_of() -> None:
    assert list_facts(Api().fleet, {}, [PREVIOUS], now=NOW).release is None


def test_a_node_has_its_boots_and_a_stranger_is_an_error() -> None:
    api = Api()
    api.boots.note(make_boot(id="b-1"))
    api.boots.note(make_boot(id="b-2"))

    async def scenario() -> None:
        detail = await find_detail(api.view, "nuc-07", limit=1)
        assert [each.id for each in detail.boots] == ["b-2"]
        with pytest.raises(UnknownNodeError):
            await find_detail(api.view, "nobody", limit=1)

    asyncio.run(scenario())


def test_a_machine_that_was_given_a_name_since_is_listed_as_that_alone() -> None:
    api = Api()
    api.boots.note(make_boot(None, id="b-9", machine="mac 02:00:00:00:00:08"))
    assert list_subjects(api.view) == ["nuc-07", "nuc-08", "on-disk"]
    assert all(each.is_known for each in list_facts(api.fleet, api.boots.latest, [CURRENT], now=NOW).nodes)


def test_a_machine_that_is_known_as_several_nodes_is_none_and_has_no_command() -> None:
    api, machine = Api(), "mac 02:00:00:00:00:08, serial S1"
    api.boots.note(make_boot(None, id="b-9", machine=machine))
    assert list_subjects(api.view)[-1] == machine
    page = build_fleet_page(list_facts(api.fleet, api.boots.latest, [CURRENT], now=NOW), RowFilter())
    (unknown,) = page.unknown
    assert (unknown.command, unknown.claims) == (
        None,
        "mac 02:00:00:00:00:08 is nuc-08's, serial S1 is on-disk's",
    )
    assert "It is known as several nodes, and is none of them: mac" in "".join(render_fleet(page, Viewer()))
