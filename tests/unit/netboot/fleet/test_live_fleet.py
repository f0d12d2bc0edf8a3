"""The fleet as it is changed while it is used, on the store that a boot server has."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.fleets import make_fleet
from support.scenarios import run
from support.shared_stores import until

from ectools.errors import ProblemsError
from ectools.netboot.fleet import live as module
from ectools.netboot.fleet.install import NodeInstall
from ectools.netboot.fleet.kept import ADDED_NODES, OVERRIDES
from ectools.netboot.fleet.live import ContradictionError, LiveFleet, UnknownNodeError
from ectools.netboot.fleet.machine import Machine
from ectools.netboot.fleet.model import NodeTarget
from ectools.netboot.fleet.roster import Roster
from ectools.netboot.state.interface import StateError
from ectools.netboot.state.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine
    from pathlib import Path

DOCUMENT: dict[str, Any] = {
    "groups": {"runners": {}},
    "nodes": {
        "nuc-07": {"group": "runners", "match": {"mac": ["02:00:00:00:00:07"]}},
        "held": {"match": {"serial": "S1"}, "hold": True},
    },
}
INSTALLING: dict[str, Any] = {
    "groups": {"runners": {"boot": "install", "install": {"erase": True}}},
    "nodes": {name: {"group": "runners", "match": {"serial": f"S{name}"}} for name in "ab"},
}
ADDED = {"group": "runners", "match": {"mac": ["02:00:00:00:00:09"]}}


def set_base(live: LiveFleet, **document: Any) -> None:
    fleet = make_fleet(**document)
    live.set_base(fleet, Roster(fleet), where="fleet.toml")


@contextlib.asynccontextmanager
async def open_fleet(path: Path, **document: Any) -> AsyncIterator[LiveFleet]:
    """A fleet as a boot server has it after its start."""
    store = SqliteStore(path)
    await store.start()
    live = LiveFleet(store, clock=lambda: 1000.0)
    set_base(live, **(document or DOCUMENT))
    await live.load()
    try:
        yield live
    finally:
        await store.close()


def test_what_was_said_is_in_force_at_once_and_after_a_start(tmp_path: Path) -> None:
    async def scenario() -> None:
        told: list[str] = []
        async with open_fleet(tmp_path / "s") as live:
            live.on_change.append(told.append)
            await live.hold("nuc-07", by="alice", why="memory")
            await live.add("nuc-09", ADDED, by="bob")
            await live.boot_once("nuc-09", NodeTarget.DISK, by=None)
            assert live.assign(live.need("nuc-07")).boot is NodeTarget.HOLD
            assert live.assign(live.need("nuc-09")).boot is NodeTarget.DISK
            found = live.roster.find(Machine(mac="02:00:00:00:00:09")).node
            assert found is live.need("nuc-09")
        assert told == ["nuc-07", "nuc-09", "nuc-09"]
        async with open_fleet(tmp_path / "s") as again:
            assert again.assign(again.need("nuc-07")).origins["boot"].startswith("held by alice")
            assert again.assign(again.need("nuc-09")).boot is NodeTarget.DISK
            assert (again.added["nuc-09"].by, again.added["nuc-09"].at) == ("bob", 1000.0)
            await again.release("nuc-07", by="alice")
            await again.remove("nuc-09", by="alice")
        async with open_fleet(tmp_path / "s") as last:
            assert last.assign(last.need("nuc-07")).boot is NodeTarget.NETWORK
            assert last.get_override("nuc-09") is None  # with the node, what was said of it is forgotten
            with pytest.raises(UnknownNodeError):
                last.need("nuc-09")
            events = await last._store.events()
            assert [(each.kind, each.subject, each.by) for each in events] == [
                ("node-held", "nuc-07", "alice"),
                ("node-added", "nuc-09", "bob"),
                ("node-boot-once", "nuc-09", None),
                ("node-released", "nuc-07", "alice"),
                ("node-removed", "nuc-09", "alice"),
            ]

    run(scenario)


def test_what_cannot_be_said(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_fleet(tmp_path / "s") as live:
            with pytest.raises(UnknownNodeError) as caught:
                await live.hold("nuc-7", by="a")
            assert caught.value.hint == "did you mean nuc-07?"
            cases: list[tuple[Coroutine[Any, Any, Any], str]] = [
                (live.release("nuc-07", by="a"), "is not held, and boots nothing once"),
                (live.release("held", by="a"), "is held by the fleet itself (nodes.held.hold)"),
                (live.boot_once("nuc-07", NodeTarget.HOLD, by="a"), "cannot boot hold once"),
                (live.boot_once("nuc-07", NodeTarget.DISK, release="v1", by="a"), "not from disk"),
                (live.add("nuc-07", ADDED, by="a"), "fleet.nodes.nuc-07 is in fleet.toml"),
                (
                    live.add("x", {"match": {"mac": ["02-00-00-00-00-07"]}}, by="a"),
                    "x: mac 02:00:00:00:00:07 is what nuc-07 is known by too, in fleet.toml",
                ),
                (live.add("x", {**ADDED, "group": "runner"}, by="a"), "did you mean runners?"),
                (live.remove("nuc-07", by="a"), "was not added, but stands in fleet.toml"),
            ]
            for call, words in cases:
                with pytest.raises(ContradictionError) as contradiction:
                    await call
                assert words in contradiction.value.message
            for raw in (
                {},
                {"match": {}},
                {"match": {"mac": ["x"]}},
                {"match": {"serial": "0000"}},
                {"x": 1},
            ):
                with pytest.raises(ProblemsError):
                    await live.add("x", raw, by="a")
            with pytest.raises(ProblemsError):
                await live.add("not/a name", ADDED, by="a")
            await live.add("x", ADDED, by="a")
            with pytest.raises(ContradictionError, match="was added already"):
                await live.add("x", ADDED, by="a")
            with pytest.raises(ContradictionError, match="x is known by too"):
                await live.add("y", ADDED, by="a")
            assert [each.kind for each in await live._store.events()] == ["node-added"]

    run(scenario)


def test_no_more_nodes_than_a_boot_server_should_remember(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ADDED", 1)

    async def scenario() -> None:
        async with open_fleet(tmp_path / "s") as live:
            await live.add("x", ADDED, by="a")
            with pytest.raises(ContradictionError, match="1 nodes were added, and no more can be"):
                await live.add("y", {"match": {"serial": "S2"}}, by="a")

    run(scenario)


def test_a_file_that_comes_later_goes_first(tmp_path: Path) -> None:
    """What was added and contradicts it is left out, told, and there again when the file is as before."""

    async def scenario() -> None:
        async with open_fleet(tmp_path / "s") as live:
            await live.add("x", ADDED, by="a")
            await live.add("y", {"match": {"serial": "S2"}}, by="a")
            await live.add("z", {"group": "runners", "match": {"serial": "S3"}}, by="a")
            nodes = {
                "x": {"match": {"serial": "S8"}},
                "w": {"match": {"serial": "S2"}},
            }
            set_base(live, nodes=nodes)
            assert set(live.fleet.nodes) == {"x", "w"}
            assert live.left_out == {
                "x": "fleet.nodes.x is in fleet.toml too",
                "y": "serial S2 is what w is known by too, in fleet.toml",
                "z": "runners is no group of the fleet in fleet.toml; the groups are: none",
            }
            found = live.roster.find(Machine(serial="S2")).node
            assert found is not None
            assert found.name == "w"
            await live.remove("x", by="a")  # what was added, and not the file's
            assert "x" in live.fleet.nodes
            set_base(live, **DOCUMENT)
            assert live.left_out == {}
            assert {"y", "z"} < set(live.fleet.nodes)

    run(scenario)


def test_a_boot_once_is_used_up_by_one_order(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_fleet(tmp_path / "s") as live:
            first = (await live.boot_once("nuc-07", NodeTarget.NETWORK, by="a", release="boot-v1")).once
            assert first is not None
            await live.note_given("nuc-07", first, boot_id="b1")
            override = live.get_override("nuc-07")
            assert override is not None
            assert override.once is not None
            assert (override.once.given, override.once.boot_id) == (1000.0, "b1")
            # Another order meanwhile is not touched by the end of the first.
            second = (await live.boot_once("nuc-07", NodeTarget.DISK, by="b")).once
            assert second is not None
            await live.end_once("nuc-07", first)
            after = live.get_override("nuc-07")
            assert after is not None
            assert after.once == second
            await live.end_once("nuc-07", second)
            assert live.get_override("nuc-07") is None

    run(scenario)


def test_what_others_write_is_taken_over(tmp_path: Path) -> None:
    """Two fleets on one store, as two boot hosts have it: neither undoes what the other has said."""

    async def scenario() -> None:
        async with open_fleet(tmp_path / "s") as live:
            other = LiveFleet(live._store, clock=lambda: 2000.0)
            set_base(other, **DOCUMENT)
            await live.hold("nuc-07", by="a")
            # It has not heard of the hold: its own change is made on top of it all the same.
            await other.boot_once("nuc-07", NodeTarget.DISK, by="b")
            override = other.get_override("nuc-07")
            assert override is not None
            assert override.hold is not None
            following = [asyncio.create_task(live.follow(prefix)) for prefix in (ADDED_NODES, OVERRIDES)]
            heard = asyncio.Event()
            live.on_change.append(lambda _: heard.set())
            await heard.wait()
            assert live.get_override("nuc-07") == override
            heard.clear()
            await other.add("x", ADDED, by="b")
            await heard.wait()
            assert "x" in live.fleet.nodes
            heard.clear()
            await other.release("nuc-07", by="b")
            await heard.wait()
            assert live.get_override("nuc-07") is None
            heard.clear()
            await other.remove("x", by="b")
            await heard.wait()
            assert "x" not in live.fleet.nodes
            for task in following:
                task.cancel()
            await asyncio.wait(following)

    run(scenario)


def test_of_what_others_write_that_alone_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of thousands of nodes each may be written about at each of its boots."""

    async def scenario() -> None:
        async with open_fleet(tmp_path / "s") as live:
            other = LiveFleet(live._store, clock=lambda: 2000.0)
            set_base(other, **DOCUMENT)
            read: list[str] = []
            listing = live._store.list

            async def count(prefix: str) -> Any:
                read.append(prefix)
                return await listing(prefix)

            monkeypatch.setattr(live._store, "list", count)
            heard = asyncio.Event()
            live.on_change.append(lambda _: heard.set())
            following = [asyncio.create_task(live.follow(prefix)) for prefix in (ADDED_NODES, OVERRIDES)]
            await until(lambda: len(read) == 4)  # both have read both
            read.clear()
            for change in (
                other.hold("nuc-07", by="b"),
                other.boot_once("nuc-07", NodeTarget.DISK, by="b"),
                other.add("x", ADDED, by="b"),
                other.release("nuc-07", by="b"),
                other.remove("x", by="b"),
            ):
                heard.clear()
                await change
                await heard.wait()
            assert (live.get_override("nuc-07"), "x" in live.fleet.nodes) == (None, False)
            assert read == []
            for task in following:
                task.cancel()
            await asyncio.wait(following)

    run(scenario)


def test_an_entry_that_nobody_can_read_is_told_and_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with open_fleet(tmp_path / "s") as live:
            await live._store.put("overrides/nuc-07", {"new": "form"})
            await live._store.put("nodes/x", {"node": 1, "at": 2, "by": None})
            for _ in range(2):
                await live.load()
            # It could be one that was held.
            assert live.assign(live.need("nuc-07")).boot is NodeTarget.HOLD
            assert "x" not in live.fleet.nodes
            told = [each for each in caplog.messages if "cannot be read: it is passed over" in each]
            assert len(told) == 2
            await live.boot_once("nuc-07", NodeTarget.DISK, by="a")
            entry = await live._store.get("overrides/nuc-07")
            assert entry is not None
            assert entry.value["new"] == "form"
            assert entry.value["hold"] is not None

    run(scenario)


def test_what_a_later_version_says_takes_nothing_away_that_was_known(tmp_path: Path) -> None:
    """A node that is held, one that was installed, and one that was added, each with a word more."""

    async def scenario() -> None:
        install = NodeInstall(order="first", at=1.0, boot_id="b", disk="d", system="/s", release="r")
        later: dict[str, Any] = {"boot": "moon", "at": 5.0}
        async with open_fleet(tmp_path / "s", **INSTALLING) as live:
            await live.hold("a", by="alice")
            await live.note_install("b", replace(install, done=True))
            await live.add("c", ADDED, by="alice")
            for key, change in (
                ("overrides/a", {"once": later}),
                ("overrides/b", {"once": later}),
                ("nodes/c", {"node": {**ADDED, "later": 1}}),
            ):
                entry = await live._store.get(key)
                assert entry is not None
                await live._store.put(key, {**entry.value, **change})
            await live.load()
            assert "c" in live.fleet.nodes
            targets = {name: live.assign(live.need(name)).boot for name in "ab"}
            assert targets == {"a": NodeTarget.HOLD, "b": NodeTarget.DISK}
            await live.boot_once("a", NodeTarget.NETWORK, by="alice")
            held = live.get_override("a")
            assert held is not None
            assert held.hold is not None
            # What was installed cannot be read: who has seen it before goes on by that.
            await live._store.put("overrides/b", {"hold": None, "once": None, "install": {"form": 2}})
            await live.load()
            assert live.assign(live.need("b")).boot is NodeTarget.DISK
        async with open_fleet(tmp_path / "s", **INSTALLING) as again:
            assert again.assign(again.need("b")).boot is NodeTarget.HOLD
            with pytest.raises(ContradictionError, match="cannot be read by this version"):
                await again.release("b", by="alice")
            await again.boot_once("b", NodeTarget.DISK, by="alice")
            entry = await again._store.get("overrides/b")
            assert entry is not None
            assert entry.value["install"] == {"form": 2}

    run(scenario)


def test_what_cannot_be_kept_is_not_in_force(tmp_path: Path) -> None:
    async def scenario() -> None:
        directory = tmp_path / "gone"
        async with open_fleet(tmp_path / "s") as good:
            del good
        store = SqliteStore(directory / "s")
        await store.start()
        live = LiveFleet(store, clock=lambda: 1.0)
        set_base(live, **DOCUMENT)
        for call in (live.hold("nuc-07", by="a"), live.add("x", ADDED, by="a"), live.load()):
            with pytest.raises(StateError):
                await call
        assert live.get_override("nuc-07") is None
        assert "x" not in live.fleet.nodes
        await store.close()

    run(scenario)


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["hold", "release", "once", "add", "remove", "restart", "file"]), st.integers(0, 3)
    ),
    max_size=12,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_STEPS)
def test_after_any_steps_a_start_finds_what_was_in_force(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    path = tmp_path_factory.mktemp("live") / "s"
    names = ["nuc-07", "held", "n2", "n3"]

    async def step(live: LiveFleet, what: str, number: int) -> None:
        name = names[number]
        match what:
            case "hold":
                await live.hold(name, by="a")
            case "release":
                await live.release(name, by="a")
            case "once":
                await live.boot_once(name, NodeTarget.DISK, by="a")
            case "add":
                await live.add(name, {"match": {"mac": [f"02:00:00:00:00:0{number}"]}}, by="a")
            case "remove":
                await live.remove(name, by="a")
            case "file":
                set_base(live, nodes={name: {"match": {"mac": ["02:00:00:00:00:02"]}}})

    def look(live: LiveFleet) -> dict[str, Any]:
        return {name: live.assign(node) for name, node in live.fleet.nodes.items()}

    async def scenario() -> None:
        async with open_fleet(path) as live:
            for what, number in steps:
                with contextlib.suppress(ContradictionError, UnknownNodeError):
                    await step(live, what, number)
            seen, base = look(live), live._base
        async with open_fleet(path) as again:
            again.set_base(base, Roster(base), where="fleet.toml")
            assert look(again) == seen

    run(scenario)


def test_what_is_said_of_a_node_that_is_gone_stays_until_it_is_released(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that is being edited loses no hold; a new machine of the old name need not have it."""

    async def scenario() -> None:
        async with open_fleet(tmp_path / "s") as live:
            await live.hold("nuc-07", by="alice")
            for _ in range(2):
                set_base(live, groups={"runners": {}})
                assert caplog.text.count("of which something is said still") == 1
            set_base(live, **DOCUMENT)
            assert (await live.hold("nuc-07", by="bob")).hold is not None
            set_base(live, groups={"runners": {}})
            assert (await live.release("nuc-07", by="alice")).is_empty
            with pytest.raises(UnknownNodeError):
                await live.release("nuc-07", by="alice")
            set_base(live, **DOCUMENT)
            assert live.get_override("nuc-07") is None

    run(scenario)
