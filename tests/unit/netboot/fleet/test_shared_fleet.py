"""The fleet on a host that shares its state, while the others have not been told what it has of it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, cast

import pytest
from support.fleets import make_fleet
from support.scenarios import run
from support.shared_stores import until

from ectools.netboot.fleet.kept import OVERRIDES
from ectools.netboot.fleet.live import LiveFleet
from ectools.netboot.fleet.model import NodeTarget
from ectools.netboot.fleet.roster import Roster
from ectools.netboot.server.shared_state import reconcile, take_over
from ectools.netboot.state.interface import StateConflictError, StateEntry, StateUnreachableError
from ectools.netboot.state.nats_bucket import SharedChange
from ectools.netboot.state.shared import SHARED_FILE, SharedStore
from ectools.netboot.state.sqlite import STATE_FILE, SqliteStore
from ectools.supervision import tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from ectools.netboot.state.nats_bucket import NatsBucket

FLEET = make_fleet(
    groups={"g": {"boot": "install", "install": {"erase": True}}},
    nodes={name: {"group": "g", "match": {"serial": f"S{name}"}} for name in ("held", "installed")},
)
INSTALL: dict[str, Any] = {
    "order": "first",
    "at": 1.0,
    "boot_id": "b",
    "disk": "sda",
    "system": "/nix/store/x",
    "release": "r",
    "done": True,
    "leads": True,
    "credential": "a" * 64,
    "next_credential": None,
}
ENTRIES: dict[str, Any] = {
    "overrides/held": {"hold": {"at": 1.0, "by": "alice", "why": None}, "once": None, "install": None},
    "overrides/installed": {"hold": None, "once": None, "install": INSTALL},
    "nodes/added": {"node": {"boot": "disk", "match": {"serial": "S3"}}, "at": 1.0, "by": "alice"},
}


@contextlib.asynccontextmanager
async def open_alone(directory: Path) -> AsyncIterator[SharedStore]:
    """A store that reaches nobody."""
    store = SharedStore(SqliteStore(directory / SHARED_FILE), reconcile=reconcile, clock=lambda: 2.0)
    await store.start()
    try:
        yield store
    finally:
        await store.close()


async def load_fleet(store: SharedStore) -> LiveFleet:
    """As a boot server has it after its start."""
    live = LiveFleet(store, clock=lambda: 2.0)
    live.set_base(FLEET, Roster(FLEET), where="fleet.toml")
    await live.load()
    return live


def list_targets(live: LiveFleet) -> dict[str, NodeTarget]:
    return {name: live.assign(node).boot for name, node in live.fleet.nodes.items()}


WANTED = {"held": NodeTarget.HOLD, "installed": NodeTarget.DISK, "added": NodeTarget.DISK}


def test_what_a_host_had_for_itself_is_in_force_before_the_others_are_reached(tmp_path: Path) -> None:
    """Else a node that is held, or runs from its disk, would be installed anew at the first shared start."""

    async def scenario() -> None:
        before = SqliteStore(tmp_path / STATE_FILE)
        await before.start()
        for key, value in ENTRIES.items():
            await before.put(key, value)
        await before.close()
        async with open_alone(tmp_path) as store:
            assert await take_over(tmp_path, store) == len(ENTRIES)
            live = await load_fleet(store)
            assert list_targets(live) == WANTED
            # What is decided with the others waits for them, and changes nothing until then.
            for call in (live.release("held", by="a"), live.remove("added", by="a")):
                with pytest.raises(StateUnreachableError):
                    await call
            await live.load()
            assert list_targets(live) == WANTED

    run(scenario)


def test_what_nats_has_lost_is_in_force_after_a_start_before_it_was_said_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_alone(tmp_path) as store:
            for revision, (key, value) in enumerate(ENTRIES.items(), start=5):
                await store.view.learn_own(key, value, revision, 1.0)
            live = await load_fleet(store)
            await store.restore()
            await live.load()
            assert list_targets(live) == WANTED
        async with open_alone(tmp_path) as store:
            assert list_targets(await load_fleet(store)) == WANTED

    run(scenario)


def test_what_gives_way_to_the_others_is_in_force_no_more(tmp_path: Path) -> None:
    """It has had their revision since that was heard of: the revision does not say which of both stands."""
    theirs: dict[str, Any] = {"hold": None, "once": None, "install": INSTALL}
    key = f"{OVERRIDES}held"

    class Bucket:
        async def get(self, key: str) -> StateEntry:
            return StateEntry(key=key, value=theirs, revision=7, changed=9.0)

    async def scenario() -> None:
        async with open_alone(tmp_path) as store:
            await store.bring([StateEntry(key=key, value=ENTRIES[key], revision=3, changed=1.0)])
            heard = SharedChange(key=key, value=theirs, revision=7, changed=9.0, left=0)
            await store.view.learn([heard])
            live = await load_fleet(store)
            assert list_targets(live)["held"] is NodeTarget.HOLD
            async with tasks(live.follow(OVERRIDES)):
                await asyncio.sleep(0)
                store.attach(Bucket())  # type: ignore[arg-type]
                async with tasks(store.say()):
                    await until(lambda: list_targets(live)["held"] is NodeTarget.DISK, seconds=5)

    run(scenario)


class Bucket:
    """What the others have."""

    def __init__(self, entry: StateEntry | None) -> None:
        self.entry = entry

    async def get(self, key: str) -> StateEntry | None:
        return self.entry if self.entry is not None and self.entry.key == key else None

    async def put(self, key: str, value: dict[str, Any], *, changed: float, expected: int) -> int:
        at = 0 if self.entry is None else self.entry.revision
        if at != expected:
            raise StateConflictError(f"{key}: is at {at}")
        self.entry = StateEntry(key=key, value=value, revision=at + 1, changed=changed)
        return at + 1


def test_what_gives_way_to_the_others_is_no_ground_for_a_change(tmp_path: Path) -> None:
    """What was written here has the revision of theirs, which is heard before this is said."""

    async def scenario() -> None:
        async with open_alone(tmp_path) as store:
            mine, theirs = (
                {"hold": {"at": at, "by": by, "why": None}} for at, by in ((1.0, "a"), (5.0, "b"))
            )
            rest = {"once": None, "install": None}
            key = f"{OVERRIDES}held"
            await store.bring([StateEntry(key=key, value=mine | rest, revision=3, changed=1.0)])
            bucket = Bucket(StateEntry(key=key, value=theirs | rest, revision=7, changed=9.0))
            heard = SharedChange(key=key, value=theirs | rest, revision=7, changed=9.0, left=0)
            await store.view.learn([heard])
            live = await load_fleet(store)
            store.attach(cast("NatsBucket", bucket))
            await live.boot_once("held", NodeTarget.DISK, by="c")
            assert bucket.entry is not None
            assert (bucket.entry.value["hold"], bucket.entry.value["once"]["by"]) == (theirs["hold"], "c")

    run(scenario)


def test_what_is_asked_for_as_all_have_it_was_said_to_them(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_alone(tmp_path) as store:
            entry = StateEntry(key="slots/g", value={"holders": {"held": 1.0}}, revision=3, changed=1.0)
            await store.bring([entry])
            store.attach(cast("NatsBucket", Bucket(None)))
            found = await store.get("slots/g", fresh=True)
            assert found is not None
            assert (found.value, store.unsaid) == (entry.value, 0)

    run(scenario)
