"""The register on a real store: what machines do, in what order, and what is known of them afterwards."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from support.shared_stores import until

from ectools.netboot.boots import archive, journals, keeping, memory
from ectools.netboot.boots.deadlines import GRACE_SECONDS, TOKEN_SECONDS
from ectools.netboot.boots.model import BootState, NodeReport, NodeStage
from ectools.netboot.boots.register import STRAY_SECONDS, BootRegister, ReportError
from ectools.netboot.state.interface import StateError
from ectools.netboot.state.sqlite import STATE_FILE, SqliteStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from pathlib import Path

    from ectools.netboot.boots.model import NodeBoot

HEALTHY = NodeReport(release="r1", system="/nix/store/e-nixos", healthy=True, clock=5.0)
FAILED = NodeReport(release="r1", healthy=False, failed=("a.service",), journal="boom")


class Case:
    """A register, whose clock the test moves; ``reopen`` is another program's on the same file."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.now = 10_000.0
        self.down: str | None = None

    async def open(self) -> None:
        self.store = SqliteStore(self.directory / STATE_FILE, clock=lambda: self.now)
        await self.store.start()
        put = self.store.put

        async def maybe(key: str, value: Any, *, expected: int | None = None) -> int:
            if self.down is not None:
                raise StateError(self.down)
            return await put(key, value, expected=expected)

        self.store.put = maybe  # type: ignore[method-assign]
        self.register = BootRegister(self.store, clock=lambda: self.now)
        await self.register.load()

    async def reopen(self) -> None:
        await self.store.close()
        await self.open()

    async def begin(self, node: str | None = "nuc-07", **changed: Any) -> tuple[NodeBoot, str]:
        fields: dict[str, Any] = {
            "machine": "mac 02:00:00:12:34:56",
            "node": node,
            "group": "runners",
            "release": "r1",
            "tag": "boot-v1",
            "system": "release",
            "client": "192.0.2.7",
            "within": 600.0,
            "store_path": "/nix/store/e-nixos",
        }
        return await self.register.begin(**{**fields, **changed})

    async def say(self, token: str, report: NodeReport = HEALTHY) -> NodeBoot:
        return await self.register.report(token, NodeStage.UP, report)

    async def states(self, subject: str = "nuc-07") -> list[tuple[BootState, str | None]]:
        return [(each.state, each.why) for each in await self.register.list_boots(subject)]


@contextlib.asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[Case]:
    case = Case(directory)
    await case.open()
    try:
        yield case
    finally:
        await case.store.close()


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Callable[[Case], Coroutine[Any, Any, None]]], None]:
    def run(story: Callable[[Case], Coroutine[Any, Any, None]]) -> None:
        async def told() -> None:
            async with opened(tmp_path) as case:
                await story(case)

        asyncio.run(told())

    return run


def test_a_boot_goes_well(play: Any) -> None:
    async def story(case: Case) -> None:
        boot, token = await case.begin(seen={NodeStage.OFFER: 10.0})
        assert len(token) == 32
        assert token not in str(boot)
        assert case.register.latest == {"nuc-07": boot}
        for seconds, stage in enumerate((NodeStage.KERNEL, NodeStage.INITRD, NodeStage.KERNEL), start=1):
            case.now = 10_000.0 + seconds
            case.register.see(boot.id, stage)
        await case.register.report(token, NodeStage.LOADED, None)
        await case.register.report(token, NodeStage.RUNNING, None)
        case.now = 10_060.0
        ended = await case.say(token)
        assert (ended.state, ended.why, ended.ended) == (BootState.HEALTHY, None, 10_060.0)
        assert dict(ended.stages) == {
            NodeStage.OFFER: 9_990.0,
            NodeStage.SCRIPT: 10_000.0,
            NodeStage.KERNEL: 10_001.0,
            NodeStage.INITRD: 10_002.0,
            NodeStage.LOADED: 10_003.0,
            NodeStage.RUNNING: 10_003.0,
            NodeStage.UP: 10_060.0,
        }
        assert ended.report == HEALTHY
        await case.register.write()
        await case.reopen()
        assert case.register.latest == {"nuc-07": ended}
        assert await case.register.find(boot.id) == ended
        assert case.register.unwritten == 0
        assert case.register.counts.ended == {}

    play(story)


def test_how_much_of_its_store_it_has_is_known_at_once_and_kept_later(play: Any) -> None:
    async def story(case: Case) -> None:
        boot, token = await case.begin()
        for percent in (0, 40, 40):
            case.now += 1
            case.register.note_store(token, percent)
        live = case.register.latest["nuc-07"]
        assert (live.store_percent, live.last_stage) == (40, NodeStage.STORE)
        assert live.stages[NodeStage.STORE] == 10_001.0
        assert case.register.unwritten == 1
        await case.register.write()
        await case.reopen()
        assert case.register.latest == {"nuc-07": live}
        await case.say(token)
        for other in (token, "x" * 32):
            with pytest.raises(ReportError):
                case.register.note_store(other, 50)
        assert (await case.register.find(boot.id)).store_percent == 40  # type: ignore[union-attr]

    play(story)


def test_what_begin_returns_is_kept_without_anything_else(play: Any) -> None:
    async def story(case: Case) -> None:
        boot, _ = await case.begin()
        await case.reopen()
        assert case.register.latest == {"nuc-07": boot}

    play(story)


def test_a_token_is_used_up_by_a_healthy_report(play: Any) -> None:
    async def story(case: Case) -> None:
        _, token = await case.begin()
        await case.say(token)
        again = NodeReport(**{**vars_of(HEALTHY), "clock": 99.0})
        assert (await case.say(token, again)).state is BootState.HEALTHY  # its answer was lost
        for report, stage in ((FAILED, NodeStage.UP), (None, NodeStage.RUNNING)):
            with pytest.raises(ReportError):
                await case.register.report(token, stage, report)
        with pytest.raises(ReportError):
            await case.say("x" * 32)
        assert await case.states() == [(BootState.HEALTHY, None)]

    play(story)


def vars_of(report: NodeReport) -> dict[str, Any]:
    return {name: getattr(report, name) for name in NodeReport.__dataclass_fields__}


@pytest.mark.parametrize(
    ("report", "why"),
    [
        (FAILED, "failed: a.service"),
        (NodeReport(release="r2"), "runs r2, was given r1"),
        (NodeReport(), "does not say what it runs, was given r1"),
        (NodeReport(release="r1", system="/nix/store/x"), "runs /nix/store/x, was given /nix/store/e-nixos"),
        (NodeReport(release="r1", healthy=False), "says that it is not healthy"),
    ],
)
def test_what_is_not_as_it_should_be_is_no_success(play: Any, report: NodeReport, why: str) -> None:
    async def story(case: Case) -> None:
        _, token = await case.begin()
        assert (await case.say(token, report)).why == why
        assert await case.states() == [(BootState.UNHEALTHY, why)]
        case.now += 5
        recovered = await case.say(token)  # a unit has come up after all
        assert (recovered.state, recovered.why) == (BootState.HEALTHY, None)
        assert recovered.stages[NodeStage.UP] == 10_000.0

    play(story)


def test_without_a_report_it_has_failed_and_a_late_one_counts(play: Any) -> None:
    async def story(case: Case) -> None:
        boot, token = await case.begin()
        case.register.see(boot.id, NodeStage.KERNEL)
        case.now = boot.deadline
        await case.register.expire()
        assert (await case.states())[0][0] is BootState.BOOTING
        case.now += 1
        await case.register.expire()
        assert await case.states() == [
            (BootState.FAILED, "no report within 600 s; last seen: kernel"),
        ]
        case.now += 29
        late = await case.say(token)
        assert (late.state, late.why) == (BootState.HEALTHY, "late by 30 s")
        assert case.register.counts.ended == {
            ("runners", BootState.FAILED): 1,
            ("runners", BootState.HEALTHY): 1,
        }

    play(story)


def test_a_token_does_not_last_for_ever(play: Any) -> None:
    async def story(case: Case) -> None:
        boot, token = await case.begin()
        case.now = boot.deadline + TOKEN_SECONDS + 1
        with pytest.raises(ReportError):
            await case.say(token)

    play(story)


def test_after_a_restart_no_boot_fails_at_once(play: Any) -> None:
    async def story(case: Case) -> None:
        boot, token = await case.begin()
        case.now = boot.deadline + 3600
        await case.reopen()
        await case.register.expire()
        assert (await case.states())[0][0] is BootState.BOOTING
        case.now += GRACE_SECONDS
        await case.register.expire()
        assert (await case.states())[0][0] is BootState.FAILED
        assert (await case.say(token)).state is BootState.HEALTHY

    play(story)


def test_a_clock_that_is_set_forward_fails_no_boot_that_has_just_begun(play: Any) -> None:
    """As it is after a power failure, on a machine whose own clock has stood still."""

    async def story(case: Case) -> None:
        ticks = [50.0]
        case.register = BootRegister(case.store, clock=lambda: case.now, ticks=lambda: ticks[0])
        boot, token = await case.begin()
        case.now += 30 * 86400.0
        ticks[0] += boot.within
        await case.register.expire()
        assert case.register.latest["nuc-07"].state is BootState.BOOTING
        ticks[0] += 1.0
        await case.register.expire()
        assert case.register.latest["nuc-07"].state is BootState.FAILED
        assert (await case.say(token)).state is BootState.HEALTHY  # its token's time is not over, either
        ticks[0] += TOKEN_SECONDS
        assert not case.register.knows(token)

    play(story)


def test_a_clock_that_is_set_back_keeps_no_failure_from_being_seen(play: Any) -> None:
    """It was years ahead when the server started, and is right since."""

    async def story(case: Case) -> None:
        ticks = [50.0]
        case.now += 5 * 365 * 86400.0
        case.register = BootRegister(case.store, clock=lambda: case.now, ticks=lambda: ticks[0])
        await case.register.load()
        before, _ = await case.begin("nuc-06")
        case.now -= 5 * 365 * 86400.0
        after, _ = await case.begin("nuc-07")
        for seconds, state in ((before.within, BootState.BOOTING), (1.0, BootState.FAILED)):
            ticks[0] += seconds
            case.now += seconds
            await case.register.expire()
            assert {each.state for each in case.register.latest.values()} == {state}
        assert after.within == before.within

    play(story)


def test_who_was_booting_while_nobody_listened_has_all_that_time_once_more(play: Any) -> None:
    async def story(case: Case) -> None:
        boot, token = await case.begin()
        case.now = boot.deadline + 3600
        ticks = [50.0]
        case.register = BootRegister(case.store, clock=lambda: case.now, ticks=lambda: ticks[0])
        await case.register.load()
        case.now += GRACE_SECONDS + boot.within
        for seconds, state in ((boot.within, BootState.BOOTING), (1.0, BootState.FAILED)):
            ticks[0] += seconds
            await case.register.expire()
            assert case.register.latest["nuc-07"].state is state
        # Its token is good for as long as ever, and not for a day after each start.
        case.now = boot.deadline + TOKEN_SECONDS + 1
        assert not case.register.knows(token)

    play(story)


def test_who_asks_again_before_its_kernel_is_at_the_same_boot(play: Any) -> None:
    async def story(case: Case) -> None:
        first = await case.begin()
        case.now += 3
        assert await case.begin() == first
        case.register.see(first[0].id, NodeStage.KERNEL)
        second, token = await case.begin()
        assert second.id != first[0].id
        assert token != first[1]
        why = "asked for another boot before it reported on this one"
        assert await case.states() == [(BootState.BOOTING, None), (BootState.ABANDONED, why)]

    play(story)


@pytest.mark.parametrize(
    "changed",
    [{"client": "192.0.2.66"}, {"release": "r2"}, {"machine": "mac 02:00:00:00:00:02"}, {"system": "other"}],
)
def test_a_token_goes_to_nobody_else(play: Any, changed: dict[str, str]) -> None:
    async def story(case: Case) -> None:
        _, token = await case.begin()
        other, others = await case.begin(**changed)
        assert others != token
        assert case.register.latest["nuc-07"] == other
        (_, why) = (await case.states())[1]
        assert why is not None
        assert ("from 192.0.2.66" in why) == ("client" in changed)

    play(story)


def test_a_boot_whose_time_is_over_is_not_gone_on_with(play: Any) -> None:
    async def story(case: Case) -> None:
        boot, token = await case.begin()
        case.now = boot.deadline + 1
        assert (await case.begin())[1] != token

    play(story)


def test_who_asks_in_a_nodes_name_does_not_stand_in_its_way(play: Any) -> None:
    async def story(case: Case) -> None:
        boot, token = await case.begin()
        case.register.see(boot.id, NodeStage.KERNEL)
        await case.begin(client="192.0.2.66")  # curl, or somebody hostile
        ended = await case.say(token)
        assert case.register.latest["nuc-07"] == ended
        assert await case.states() == [
            (BootState.HEALTHY, None),
            (BootState.ABANDONED, "the machine runs what it was given before"),
        ]
        await case.register.write()
        await case.reopen()
        assert case.register.latest["nuc-07"] == ended
        assert [state for state, _ in await case.states()] == [BootState.HEALTHY, BootState.ABANDONED]

    play(story)


def test_a_report_on_an_earlier_boot_is_not_the_newest_ones(play: Any) -> None:
    async def story(case: Case) -> None:
        boot, token = await case.begin()
        case.register.see(boot.id, NodeStage.KERNEL)
        second, _ = await case.begin()
        case.register.see(second.id, NodeStage.KERNEL)
        await case.say(token)
        assert [state for state, _ in await case.states()] == [BootState.BOOTING, BootState.HEALTHY]

    play(story)


def test_what_is_known_of_a_boot_id_alone(play: Any) -> None:
    async def story(case: Case) -> None:
        boot, token = await case.begin()
        case.register.see("nobody's", NodeStage.KERNEL)
        await case.say(token)
        case.register.see(boot.id, NodeStage.KERNEL)
        assert NodeStage.KERNEL not in case.register.latest["nuc-07"].stages
        second, _ = await case.begin()
        await case.register.write()
        await case.reopen()
        found = await case.register.find(boot.id)
        assert found is not None
        assert (found.state, (await case.register.find(second.id))) == (BootState.HEALTHY, second)
        for nobody in ("", "x", "../..", "a" * 32, boot.id[:-1] + "ä"):
            assert await case.register.find(nobody) is None

    play(story)


def test_without_a_store_boots_go_on_and_reports_are_asked_for_again(play: Any) -> None:
    async def story(case: Case) -> None:
        case.down = "the disk is full"
        boot, token = await case.begin()
        case.register.see(boot.id, NodeStage.KERNEL)
        with pytest.raises(StateError, match="full"):
            await case.say(token)
        await case.register.write()
        assert case.register.unwritten == 1
        case.down = None
        assert (await case.say(token)).state is BootState.HEALTHY
        assert case.register.unwritten == 0
        await case.reopen()
        assert await case.states() == [(BootState.HEALTHY, None)]

    play(story)


def test_a_store_that_hangs_holds_up_no_script(play: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "_DURABLE_SECONDS", 0.0)

    async def story(case: Case) -> None:
        never = asyncio.Event()

        async def hang(*_: Any, **__: Any) -> int:
            await never.wait()
            return 0

        put, case.store.put = case.store.put, hang  # type: ignore[method-assign]
        boot, _ = await case.begin()
        assert case.register.unwritten == 1
        case.store.put = put  # type: ignore[method-assign]
        assert (await case.begin())[0] == boot
        await case.register.write()
        assert case.register.unwritten == 0

    play(story)


def test_a_store_that_cannot_be_read_begins_with_nothing_and_is_read_later(play: Any) -> None:
    async def story(case: Case) -> None:
        async def fail(_: str) -> Any:
            raise StateError("gone")

        before, token = await case.begin()
        other, _ = await case.begin("nuc-06")
        read, case.store.list = case.store.list, fail  # type: ignore[method-assign]
        ticks = [50.0]
        fresh = BootRegister(case.store, clock=lambda: case.now, ticks=lambda: ticks[0])
        changes = fresh.changes()
        with pytest.raises(StateError):
            await fresh.load()
        assert (fresh.latest, fresh.is_loaded) == ({}, False)
        case.register = fresh
        case.now += 1
        since, _ = await case.begin("nuc-06")
        assert await anext(changes) == since
        case.store.list = read  # type: ignore[method-assign]
        ticks[0] += 2 * before.within
        for _ in range(2):
            await fresh.load()
        assert await anext(changes) is None
        assert fresh.is_loaded
        assert fresh.latest == {"nuc-06": since, "nuc-07": before}
        await fresh.expire()  # whoever was booting has all of its time from now on
        assert (await fresh.report(token, NodeStage.UP, HEALTHY)).state is BootState.HEALTHY
        assert other.id != since.id

    play(story)


def test_what_cannot_be_read_is_left_out(play: Any) -> None:
    async def story(case: Case) -> None:
        await case.begin()
        for number, broken in enumerate(({}, {"state": "x"}, {"state": "booting", "stages": 3})):
            await case.store.put(f"latest/{number}", broken)
        await case.reopen()
        assert list(case.register.latest) == ["nuc-07"]

    play(story)


def test_machines_without_a_name_are_forgotten_but_the_last(
    play: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "MAX_UNNAMED", 2)

    async def story(case: Case) -> None:
        await case.begin()
        for number in (1, 2, 3, 1):
            await case.begin(node=None, machine=f"serial {number}", client=f"192.0.2.{number}")
        await case.register.write()
        assert set(case.register.latest) == {"nuc-07", "serial 3", "serial 1"}
        await case.reopen()
        assert set(case.register.latest) == {"nuc-07", "serial 3", "serial 1"}
        assert await case.states("serial 2") == []

    play(story)


def test_what_others_forget_is_no_reason_to_read_all_anew(play: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who makes up a name a second has another one forgotten, by each host that knows of it."""

    async def scenario(case: Case) -> None:
        for number in range(40):
            await case.begin(None, machine=f"mac {number}")
        loads: list[None] = []
        load = case.register._archive.load

        async def count() -> Any:
            loads.append(None)
            return await load()

        monkeypatch.setattr(case.register._archive, "load", count)
        following = asyncio.create_task(case.register.follow())
        await until(lambda: loads)
        for entry in await case.store.list("latest/"):
            await case.store.delete(entry.key)
        changes = case.store.watch("latest/")
        await case.begin(None, machine="mac of another")
        assert await anext(changes) is not None
        await asyncio.sleep(0)
        assert len(loads) == 1
        following.cancel()
        await asyncio.wait({following})

    play(scenario)


def test_what_memory_could_not_hold_to_forget_is_swept(play: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of a server that was killed; what a later version has written stays as long as any boot."""
    monkeypatch.setattr(memory, "MAX_UNNAMED", 2)

    async def story(case: Case) -> None:
        await case.begin()
        for number in range(8):
            await case.begin(node=None, machine=f"serial {number}", client=f"192.0.2.{number}")
        await case.store.put("latest/00", {"of": "a later version"})
        await case.register.write()
        assert len(await case.store.list("latest/")) == 8
        for seconds, left in ((STRAY_SECONDS, 8), (1.0, 4), (86400.0, 3)):
            case.now += seconds
            await case.register.prune(days=1, nodes={"nuc-07", "serial 6", "serial 7"})
            assert len(await case.store.list("latest/")) == left
        assert set(case.register.latest) == {"nuc-07", "serial 6", "serial 7"}

    play(story)


def test_who_boots_while_strays_are_swept_is_none(play: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MAX_UNNAMED", 2)

    async def story(case: Case) -> None:
        for number in range(8):
            await case.begin(node=None, machine=f"serial {number}", client=f"192.0.2.{number}")
        listed = archive.BootArchive.list_strays
        begun = []

        async def list_and_boot(self: archive.BootArchive, *args: Any, **named: Any) -> Any:
            strays = await listed(self, *args, **named)
            begun.append(await case.begin(node=None, machine="serial 0", client="192.0.2.9"))
            return strays

        monkeypatch.setattr(archive.BootArchive, "list_strays", list_and_boot)
        case.register._memory.forgotten.clear()
        case.now += STRAY_SECONDS + 1
        await case.register.prune(days=1, nodes=())
        assert len(await case.store.list("latest/")) == 3  # what memory had, and has
        await case.reopen()
        [(boot, _)] = begun
        assert case.register.latest["serial 0"].id == boot.id

    play(story)


def test_of_one_machine_so_many_boots_are_kept(play: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_BOOTS", 3)
    monkeypatch.setattr(keeping, "_TRIM_EVERY", 8)
    monkeypatch.setattr(memory, "MAX_SUPERSEDED", 2)

    async def story(case: Case) -> None:
        ids = []
        for _ in range(8):
            case.now += 1
            boot, token = await case.begin()
            await case.say(token)
            ids.append(boot.id)
        await case.register.write()
        kept = [each.id for each in await case.register.list_boots("nuc-07")]
        assert kept == ids[:-5:-1]
        assert len(await case.register.list_boots("nuc-07", limit=2)) == 2

    play(story)


def test_boots_are_forgotten_after_days_but_a_nodes_newest(play: Any) -> None:
    async def story(case: Case) -> None:
        _, token = await case.begin()
        await case.say(token)
        await case.begin()
        await case.begin(node="gone")
        await case.begin(node=None, machine="serial 1")
        case.now += 3 * 86400
        await case.begin(node=None, machine="serial 2")
        await case.register.prune(days=2, nodes={"nuc-07"})
        await case.register.write()
        await case.reopen()
        assert set(case.register.latest) == {"nuc-07", "serial 2"}
        assert len(await case.states()) == 1

    play(story)


def test_a_forgotten_machine_may_come_again_or_report(play: Any) -> None:
    async def story(case: Case) -> None:
        boot, token = await case.begin(node=None)
        case.register.see(boot.id, NodeStage.KERNEL)
        await case.begin(node=None)
        case.now += 3 * 86400
        await case.register.prune(days=2, nodes=())
        with pytest.raises(ReportError):
            await case.say(token)
        again, _ = await case.begin(node=None)
        await case.register.write()
        await case.reopen()
        assert list(case.register.latest.values()) == [again]

    play(story)


def test_who_listens_hears_each_change(play: Any) -> None:
    async def story(case: Case) -> None:
        changes = case.register.changes()
        boot, token = await case.begin()
        case.register.see(boot.id, NodeStage.KERNEL)
        await case.say(token)
        seen = [await anext(changes) for _ in range(4)]
        assert [(each.state, each.last_stage) for each in seen if each is not None] == [
            (BootState.BOOTING, NodeStage.SCRIPT),
            (BootState.BOOTING, NodeStage.KERNEL),
            (BootState.BOOTING, NodeStage.UP),
            (BootState.HEALTHY, NodeStage.UP),
        ]

    play(story)


def test_journals_that_are_too_many_for_memory_are_in_the_store(
    play: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "MAX_JOURNAL_BYTES", 3000)

    async def story(case: Case) -> None:
        for number in range(3):
            _, token = await case.begin(node=f"n-{number}")
            await case.say(token, NodeReport(release="r1", healthy=False, journal="x" * 1000))
        lengths = [len(boot.report.journal) for boot in case.register.latest.values() if boot.report]
        assert lengths == [0, 1000, 1000]
        kept = [entry.value["report"]["journal"] for entry in await case.store.list("latest/")]
        assert [len(journal) for journal in kept] == [1000] * 3

    play(story)


def test_a_crowd_is_kept_and_told_apart(play: Any) -> None:
    async def story(case: Case) -> None:
        begun = await asyncio.gather(*(case.begin(node=f"n-{number}") for number in range(300)))
        assert len({token for _, token in begun}) == 300
        await case.reopen()
        assert {each.id for each in case.register.latest.values()} == {boot.id for boot, _ in begun}

    play(story)
