"""Two publishers at once, in each kind of depot: one of them wins whole, and the other one is told."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING

import pytest
from support.depots import (
    at_once,
    build_publication,
    move_at_once,
    open_at,
    read_back,
    start_forge_api,
    start_web_store,
)

from ectools.errors import EcError
from ectools.netboot.depot.interface import MovedError, TakenError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ectools.netboot.depot.opening import AnyDepot


@pytest.fixture(params=["directory", "web", "forge"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], AnyDepot]]:
    """Opens the same depot as another publisher does."""
    with contextlib.ExitStack() as stack:
        if request.param == "directory":
            yield lambda: open_at(str(tmp_path / "depot"))
        elif request.param == "web":
            store = stack.enter_context(start_web_store())
            yield lambda: open_at(f"{store.url}/boot")
        else:
            forge = stack.enter_context(start_forge_api())
            yield lambda: open_at(forge.address, token=forge.token)


def test_a_release_is_published_once(reopen: Callable[[], AnyDepot], tmp_path: Path) -> None:
    wanted = build_publication(tmp_path / "one")
    assert reopen().publish(wanted) is True
    assert read_back(reopen(), wanted) == [file.path.read_bytes() for file in wanted.files]
    assert reopen().publish(wanted) is False
    other = build_publication(tmp_path / "two", text="two")
    with pytest.raises(TakenError, match="boot-v1"):
        reopen().publish(other)
    assert read_back(reopen(), wanted) == [file.path.read_bytes() for file in wanted.files]
    assert reopen().publish(build_publication(tmp_path / "next", "boot-v1+2", "two")) is True


@pytest.mark.parametrize("turn", range(5))
def test_of_two_at_once_one_wins_whole(reopen: Callable[[], AnyDepot], tmp_path: Path, turn: int) -> None:
    both = [build_publication(tmp_path / name, text=f"{name} {turn}") for name in ("one", "two")]
    results = at_once(*(partial(reopen().publish, each) for each in both))
    assert results.count(True) == 1, results
    winner = both[results.index(True)]
    refused = results[1 - results.index(True)]
    assert isinstance(refused, EcError), refused
    assert "boot-v1" in refused.message
    assert read_back(reopen(), winner) == [file.path.read_bytes() for file in winner.files]


def test_a_channel_is_moved_from_where_it_was_seen(reopen: Callable[[], AnyDepot]) -> None:
    depot = reopen()
    assert depot.read_channel("stable") is None
    depot.write_channel("stable", b"1", version=None)
    first = reopen().read_channel("stable")
    assert first is not None
    assert first.data == b"1"
    with pytest.raises(MovedError):
        reopen().write_channel("stable", b"x", version=None)
    depot.write_channel("stable", b"2", version=first.version)
    with pytest.raises(MovedError, match="stable"):
        reopen().write_channel("stable", b"x", version=first.version)
    there = depot.read_channel("stable")
    assert there is not None
    assert there.data == b"2"


@pytest.mark.parametrize("turn", range(5))
def test_of_two_moves_at_once_one_is_done(reopen: Callable[[], AnyDepot], turn: int) -> None:
    reopen().write_channel("stable", b"0", version=None)
    moves = [b"a", b"b", b"c"]
    before, results = move_at_once(reopen, "stable", moves)
    assert before == b"0"
    assert [isinstance(each, MovedError) for each in results].count(False) == 1, results
    there = reopen().read_channel("stable")
    assert there is not None
    assert there.data == moves[results.index(None)]
