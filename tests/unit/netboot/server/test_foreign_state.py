"""A boot host whose shared state others write into, whatever they like: all of it goes on, and answers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.fleet_api import make_boot
from support.fleets import make_fleet
from support.nats_servers import NatsServer, start_nats
from support.nats_strangers import NatsStranger, open_stranger
from support.shared_stores import until, until_there

from ectools.cli.fleet_text import draw_boot, draw_event, draw_hosts
from ectools.netboot.boots import deadlines
from ectools.netboot.boots.archive import make_id
from ectools.netboot.boots.encode import encode_boot, encode_install, encode_report, encode_update
from ectools.netboot.boots.model import BootInstall, BootUpdate, InstallStep, NodeReport, UpdateStep
from ectools.netboot.fleet.install import NodeInstall
from ectools.netboot.fleet.live import LiveFleet
from ectools.netboot.fleet.model import NodeTarget
from ectools.netboot.fleet.override import BootOnce, NodeHold, NodeOverride, encode_override
from ectools.netboot.fleet.roster import Roster
from ectools.netboot.http.server import HttpServer
from ectools.netboot.http.settings import HttpSettings
from ectools.netboot.release.store import ReleaseStore
from ectools.netboot.rollout.encode import encode_rollout
from ectools.netboot.rollout.model import Rollout, RolloutPlan
from ectools.netboot.rollout.slots import GroupSlots
from ectools.netboot.server.boot_records import BootRecords
from ectools.netboot.server.fleet_service import FleetService
from ectools.netboot.server.metrics import Remembered, render_metrics
from ectools.netboot.server.metrics_nodes import NodeFigures
from ectools.netboot.server.rollout_service import RolloutService
from ectools.netboot.server.shared_state import SharedPlan
from ectools.netboot.settings.load import load_netboot_settings
from ectools.netboot.state.nats_access import NatsAddress
from ectools.timers import Jobs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from pathlib import Path

BUCKET = "foreign"
NOW = 1.7e9
FLEET = make_fleet(
    groups={"g": {"release": "boot-v1", "slots": 2}},
    nodes={name: {"group": "g", "match": {"serial": f"S-{name}"}} for name in ("a", "b")},
)
BOOT = encode_boot(make_boot("a", id=make_id("a", NOW), group="g"))
BOOT |= {
    "report": encode_report(NodeReport(seconds={"kernel": 1.0}, failed=("a.service",), clock=NOW)),
    "install": encode_install(BootInstall(order="first", step=InstallStep.COPY, percent=3)),
    "update": encode_update(BootUpdate(release="r", step=UpdateStep.COPY, at=NOW)),
}
PLAN = RolloutPlan(id="r", group="g", target="new", before="old", base="boot-v1", at=NOW)
INSTALL = NodeInstall(order="first", at=NOW, boot_id="b", disk="sda", system="s", release="r")
DOCUMENTS: dict[str, Any] = {
    f"latest.{BOOT['id'][:12]}": BOOT,
    f"boots.{BOOT['id'][:12]}.{BOOT['id']}": BOOT,
    "rollouts.g": encode_rollout(Rollout(plan=PLAN, taken={"a": NOW}, failed={"b": "why"}, opened=NOW)),
    "slots.g": {"holders": {"a": NOW}},
    "overrides.a": encode_override(
        NodeOverride(
            hold=NodeHold(at=NOW),
            once=BootOnce(boot=NodeTarget.DISK, at=NOW, given=NOW),
            install=replace(INSTALL, done=True),
        )
    ),
    "nodes.c": {"node": {"group": "g", "match": {"serial": "S-c"}}, "at": NOW, "by": None},
    "hosts.boot-9": {
        "address": "http://b",
        "version": "1",
        "started": NOW,
        "behind": 0,
        "dropped": 0,
        "releases": [{"id": "i", "tag": None, "marks": ["current"]}],
    },
    "of.nobody": {"a": 1},
}
EVENT: dict[str, Any] = {"kind": "k", "subject": "s", "by": None, "data": {"a": 1}}
EVENT |= {"at": NOW, "writer": "z", "number": 1}

TEXT = st.text(st.characters(exclude_categories=()), max_size=5)
ODD: st.SearchStrategy[Any] = st.sampled_from(
    [10**400, 1e999, 1e18, -1e18, -1, 0, True, None, "x", "", [], {}, [[]], {"": {}}, 1.5]
)
JSON = ODD | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda each: st.lists(each, max_size=3) | st.dictionaries(TEXT, each, max_size=3),
    max_leaves=6,
)


def list_places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield place
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in items:
        yield from list_places(each, (*place, name))


def spoil(value: Any, place: tuple[Any, ...], other: Any) -> Any:
    """The same with something else at one place."""
    if not place:
        return other
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[place[0]] = spoil(value[place[0]], place[1:], other)
    return changed


def spoiled(document: Any) -> st.SearchStrategy[Any]:
    return st.builds(spoil, st.just(document), st.sampled_from(list(list_places(document))), JSON)


WORDS = st.one_of(
    *(
        st.tuples(st.just(subject), spoiled({"t": NOW, "v": document}) | st.binary(max_size=20))
        for subject, document in DOCUMENTS.items()
    ),
    st.tuples(st.none(), spoiled(EVENT) | st.binary(max_size=20)),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with start_nats(tmp_path_factory.mktemp("nats")) as started:
        yield started


class Host:
    """One boot host, but for what serves files."""

    def __init__(self, directory: Path, url: str, listener: socket.socket) -> None:
        directory.mkdir()
        config = directory / "netboot.json"
        config.write_text(json.dumps({"listenIP": "192.0.2.10", "hostname": "boot.example.org"}))
        self.control = directory / "control.sock"
        self.jobs = Jobs()
        address = NatsAddress(servers=(url,), bucket=BUCKET)
        self.records = BootRecords(
            directory,
            keep=lambda: (90, FLEET.nodes),
            shared=SharedPlan(address=address, name="boot-1"),
            jobs=self.jobs,
        )
        self.store, self.boots = self.records.store, self.records.boots
        self.fleet = LiveFleet(self.store, clock=lambda: NOW)
        self.fleet.set_base(FLEET, Roster(FLEET), where="the settings")
        releases = ReleaseStore(directory)
        self.slots = GroupSlots(self.store, clock=lambda: NOW)
        self.rollouts = RolloutService(
            self.store,
            fleet=self.fleet,
            boots=self.boots,
            releases=releases,
            host="boot-1",
            jobs=self.jobs,
        )
        self._http = HttpServer(HttpSettings(root=directory), listener=listener)
        self.service = FleetService(
            load_netboot_settings(config, environment={}),
            fleet=self.fleet,
            rollouts=self.rollouts.rollouts,
            boots=self.boots,
            store=self.store,
            releases=releases,
            pin=self.rollouts.keep,
            health=self._describe,
            metrics=self._render,
            tokens=[],
            control=self.control,
            is_shared=True,
            behind=self.records.count_behind,
            jobs=self.jobs,
        )

    async def _describe(self) -> Mapping[str, Any]:
        return {"status": "ok", **self.records.describe()}

    def _render(self) -> str:
        return render_metrics(
            self._http,
            boots=0,
            dnsmasq_up=True,
            dnsmasq_restarts=0,
            tftp=None,
            clients=None,
            release=None,
            remembered=Remembered(
                nodes=NodeFigures(self.fleet.fleet),
                register=self.boots,
                rollouts=self.rollouts.rollouts.rollouts,
                store=self.store,
            ),
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await self.records.start()
        await self.service.keep_open()
        try:
            async with self.records.running(), self.service.running(), self.rollouts.running():
                await until(lambda: self.store.trouble is None)
                yield
        finally:
            await self.service.close()

    async def turn(self) -> None:
        """What it does each second, now."""
        await self.boots.expire()
        await self.boots.write()
        await self.rollouts.rollouts.turn()
        for node in self.fleet.fleet.nodes.values():
            self.fleet.assign(node)
        await self.slots.list_holders("g")

    async def look(self) -> None:
        """All that it answers to who looks."""
        connector = aiohttp.UnixConnector(path=str(self.control))
        async with aiohttp.ClientSession("http://host", connector=connector) as session:
            answers: dict[str, Any] = {}
            for path in ("nodes", "log", "hosts", "rollouts", "nodes/a", "nodes/a/boots"):
                async with session.get(f"/api/v1/{path}") as answer:
                    assert answer.status == 200, await answer.text()
                    answers[path] = json.loads(await answer.read(), parse_constant=pytest.fail)
            async with session.get("/metrics") as answer:
                assert answer.status == 200
                for line in (await answer.text()).splitlines():
                    assert line.startswith("#") or float(line.rpartition(" ")[2]) < 1e15, line
            async with session.get("/healthz") as answer:
                assert (answer.status, (await answer.json())["state"]) == (200, "ok")
        for event in answers["log"]["events"]:
            assert draw_event(event).isprintable()
        hosts = answers["hosts"]
        assert all(line.isprintable() for line in draw_hosts(hosts["hosts"], now=hosts["now"]))
        for boot in answers["nodes/a/boots"]["boots"]:
            assert "".join(draw_boot(boot, colour=False))


async def say(stranger: NatsStranger, host: Host, words: list[tuple[str | None, Any]], number: int) -> None:
    """All of it, and then what the host is to hear at last."""
    for subject, payload in words:
        if subject is None:
            await stranger.append(payload)
        else:
            await stranger.put(subject, payload)
    await stranger.put("mark", {"t": NOW, "v": {"n": number}})
    await stranger.append({**EVENT, "subject": f"mark-{number}", "writer": "mark", "number": number})
    await until_there(lambda: host.store.get("mark"), lambda found: found and found.value["n"] == number)
    async with asyncio.timeout(30):
        after = 0
        while True:
            events = await host.store.events(after=after)
            if any(each.subject == f"mark-{number}" for each in events):
                return
            after = events[-1].sequence if len(events) == 1000 else after
            await asyncio.sleep(0.005)


def test_whatever_others_write_a_host_goes_on_and_answers(
    server: NatsServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(deadlines, "GRACE_SECONDS", 0.0)

    with contextlib.ExitStack() as stack:
        runner = stack.enter_context(asyncio.Runner(loop_factory=asyncio.SelectorEventLoop))
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        numbers = iter(range(1, 100_000))

        ended, ready = asyncio.Event(), asyncio.Event()
        there: list[tuple[Host, NatsStranger]] = []

        async def serve() -> None:
            host = Host(tmp_path / "host", server.url, listener)
            async with host.running(), open_stranger(server.url, BUCKET) as stranger:
                there.append((host, stranger))
                ready.set()
                await ended.wait()

        async def begin() -> asyncio.Task[None]:
            serving = asyncio.create_task(serve())
            await asyncio.wait(
                {serving, asyncio.create_task(ready.wait())}, return_when=asyncio.FIRST_COMPLETED
            )
            return serving

        async def end() -> None:
            ended.set()
            await serving

        serving = runner.run(begin())
        stack.callback(lambda: runner.run(end()))
        ((host, stranger),) = there

        @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
        @given(words=st.lists(WORDS, min_size=1, max_size=6))
        def law(words: list[tuple[str | None, Any]]) -> None:
            async def scenario() -> None:
                await say(stranger, host, words, next(numbers))
                await host.turn()
                await host.look()

            runner.run(scenario())
            assert not [each for each in caplog.records if "a fault of this program" in each.message]
            assert host.store.trouble is None

        # As it is, and each of it spoilt in the way that an earlier version stopped at.
        runner.run(
            say(
                stranger,
                host,
                [(name, {"t": NOW, "v": DOCUMENTS[name]}) for name in DOCUMENTS],
                next(numbers),
            )
        )
        assert runner.run(host.store.get("of/nobody")) is not None
        law()
        assert host.jobs.list_failing() == []
