"""What the boot server knows, as the page is told of it."""

from __future__ import annotations

import asyncio

import pytest
from support.fleet_api import CURRENT, NOW, PREVIOUS, Api, make_boot

from ectools.netboot.api.page.source import find_detail, list_facts
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
