"""Errors as answers, what is staged, and the bounds of what is asked and said."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from support.fleet_api import CURRENT, PREVIOUS, Api, make_boot
from support.staged import make_release, put_release

from ectools.errors import EcError, InputError
from ectools.netboot.api.answers import AbsentError, answer_error, find_status
from ectools.netboot.api.changing import boot_node_once, hold_node
from ectools.netboot.api.guesses import TooManyTriesError
from ectools.netboot.api.reading import need_subject
from ectools.netboot.api.releases import FRESH_SECONDS, StagedReleases, choose_staged
from ectools.netboot.api.rights import ForbiddenError
from ectools.netboot.api.view import FleetView
from ectools.netboot.fleet.live import ContradictionError, UnknownNodeError
from ectools.netboot.fleet.override import MAX_WHY
from ectools.netboot.release.pins import mark
from ectools.netboot.release.store import ReleaseStore
from ectools.netboot.rollout.refusals import RolloutConflictError, UnknownRolloutError
from ectools.netboot.state.interface import StateError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ForbiddenError("x"), 403),
        (TooManyTriesError("x", seconds=7), 429),
        (UnknownNodeError("x"), 404),
        (UnknownRolloutError("x"), 404),
        (AbsentError("x"), 404),
        (ContradictionError("x"), 409),
        (RolloutConflictError("x"), 409),
        (StateError("x"), 503),
        (InputError("x"), 400),
        (EcError("x"), 500),
    ],
)
def test_each_error_has_its_status(error: EcError, status: int) -> None:
    assert find_status(error) == status
    answer = answer_error(error)
    assert isinstance(answer.body, bytes)
    assert (answer.status, json.loads(answer.body)["error"]) == (status, "x")
    assert ("Retry-After" in answer.headers) == (status in (429, 503))


def test_what_is_staged_is_read_once_in_a_while(tmp_path: Path) -> None:
    now, store = [10.0], ReleaseStore(tmp_path)
    releases = StagedReleases(store, clock=lambda: now[0])
    files = {"kernel": b"k", "initrd": b"i"}
    first = make_release(files)
    put_release(tmp_path, first, files)
    mark(store.pinned_dir, first.id)

    async def list_ids() -> dict[str, tuple[str, ...]]:
        return {each.id: each.marks for each in await releases.list()}

    async def scenario() -> None:
        assert await list_ids() == {first.id: ("current", "pinned")}
        other = {**files, "initrd": b"j"}
        (tmp_path / "current").unlink()
        put_release(tmp_path, make_release(other), other)
        assert await list_ids() == {first.id: ("current", "pinned")}
        now[0] += FRESH_SECONDS
        assert await list_ids() == {first.id: ("pinned",), make_release(other).id: ("current",)}
        # Who decides by them sees them as they are.
        mark(store.pinned_dir, make_release(other).id)
        assert choose_staged(await releases.list(fresh=True), None).marks == ("current", "pinned")  # type: ignore[union-attr]

    asyncio.run(scenario())


def test_what_a_release_has_to_install_is_read_from_it(tmp_path: Path) -> None:
    root = f"/nix/store/{'c' * 32}-nixos-system-ec-node-26.05"
    files = {"bzImage": b"k", "initrd": b"i", "cache/roots.txt": f"{root}\n".encode()}
    put_release(tmp_path, make_release(files), files)
    (found,) = asyncio.run(StagedReleases(ReleaseStore(tmp_path), clock=lambda: 1.0).list())
    assert found.installable == {found.systems[0]: [root]}
    (tmp_path / "releases" / found.id / "cache/roots.txt").unlink()
    (found,) = asyncio.run(StagedReleases(ReleaseStore(tmp_path), clock=lambda: 1.0).list())
    assert found.installable == {}


def test_a_release_by_its_tag_its_id_or_as_the_current_one() -> None:
    staged = [PREVIOUS, CURRENT]
    assert choose_staged(staged, None) is CURRENT
    assert choose_staged(staged, PREVIOUS.id) is PREVIOUS
    assert choose_staged(staged, "boot-v1") is PREVIOUS
    assert choose_staged(staged, "boot-v9") is None
    assert choose_staged([PREVIOUS], None) is None


def test_what_is_said_of_a_node_is_one_line_and_bounded() -> None:
    api = Api()

    async def scenario() -> None:
        for why in ("a\nb", "x" * (MAX_WHY + 1), "\x1b[2J"):
            with pytest.raises(InputError, match="one line"):
                await hold_node(api.view, "nuc-07", by="alice", why=why)
        with pytest.raises(InputError, match="boot: is 'moon'"):
            await boot_node_once(api.view, "nuc-07", by="alice", boot="moon", release=None)
        with pytest.raises(UnknownNodeError):
            await boot_node_once(api.view, "nobody", by="alice", boot="disk", release=None)

    asyncio.run(scenario())
    assert api.store.log == []


def test_a_subject_is_a_node_or_a_machine_that_has_booted() -> None:
    api = Api()
    api.boots.note(make_boot(None, machine="mac 02:00:00:00:00:99"))
    assert isinstance(api.view, FleetView)
    assert need_subject(api.view, "nuc-07") == "nuc-07"
    assert need_subject(api.view, "mac 02:00:00:00:00:99") == "mac 02:00:00:00:00:99"
    with pytest.raises(EcError, match="nuc-77"):
        need_subject(api.view, "nuc-77")
