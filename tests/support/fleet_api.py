"""What the API shows, without a boot server: a fleet, boots and releases in memory, and clients of it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp.test_utils import TestClient, TestServer
from support.fleets import make_fleet

from ectools.netboot.api.app import build_app
from ectools.netboot.api.events import EventHub
from ectools.netboot.api.listeners import AppListener, bind_control
from ectools.netboot.api.releases import StagedRelease, choose_staged
from ectools.netboot.api.rights import SocketRights, TokenRights
from ectools.netboot.api.view import FleetView
from ectools.netboot.boots.model import NodeBoot, NodeStage
from ectools.netboot.fleet.live import LiveFleet
from ectools.netboot.fleet.roster import Roster
from ectools.netboot.rollout.live import LiveRollouts
from ectools.netboot.state.interface import (
    MAX_EVENTS,
    StateConflictError,
    StateDeletion,
    StateEntry,
    StateEvent,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from ectools.netboot.api.app import Mount
    from ectools.netboot.api.hosts import KnownHosts
    from ectools.netboot.api.rights import Rights

NOW = 1_800_000_000.0
TOKEN = "a-token-of-the-page"
CURRENT = StagedRelease(
    id=f"sha256-{'a' * 32}",
    tag="boot-v2",
    systems=("ec-runner-x86_64-netboot",),
    staged_at=int(NOW) - 3600,
    size=300_000_000,
    marks=("current",),
)
PREVIOUS = StagedRelease(
    id=f"sha256-{'b' * 32}",
    tag="boot-v1",
    systems=("ec-runner-x86_64-netboot",),
    staged_at=int(NOW) - 7200,
    size=290_000_000,
    marks=("previous", "pinned"),
)
FLEET: dict[str, Any] = {
    "groups": {"runners": {"kernelArguments": ["console=ttyS0"]}, "installed": {"boot": "disk"}},
    "nodes": {
        "nuc-07": {"group": "runners", "match": {"mac": ["02:00:00:00:00:07"]}},
        "nuc-08": {"group": "runners", "match": {"mac": ["02:00:00:00:00:08"]}},
        "on-disk": {"group": "installed", "match": {"serial": "S1"}},
    },
}


def make_host(name: str, **fields: Any) -> dict[str, Any]:
    """The row of a boot host."""
    return {
        "name": name,
        "address": f"http://{name}:8080",
        "version": "0.1.0",
        "started": NOW - 3600,
        "seen": NOW,
        "releases": [{"id": CURRENT.id, "tag": CURRENT.tag, "marks": ["current"]}],
        "left_out": 0,
        "behind": 0,
        "dropped": 0,
        "clock_ahead": None,
        "here": False,
        "lacks": [],
        "up": True,
        **fields,
    }


class MemoryStore:
    """A store in memory, with the contract of any other (``StateStore``)."""

    def __init__(self) -> None:
        self.entries: dict[str, StateEntry] = {}
        self.log: list[StateEvent] = []
        self.max_events = MAX_EVENTS
        self.error: Exception | None = None
        self._revision = self._sequence = 0
        self._watchers: list[tuple[str, asyncio.Queue[StateEntry | StateDeletion | None]]] = []

    async def get(self, key: str, *, fresh: bool = False) -> StateEntry | None:
        return self.entries.get(key)

    async def put(self, key: str, value: Mapping[str, Any], *, expected: int | None = None) -> int:
        self._expect(key, expected)
        self._revision += 1
        entry = StateEntry(key=key, value=dict(value), revision=self._revision, changed=NOW)
        self.entries[key] = entry
        self._tell(entry)
        return self._revision

    async def delete(self, key: str, *, expected: int | None = None) -> None:
        self._expect(key, expected)
        if self.entries.pop(key, None) is not None:
            self._tell(StateDeletion(key=key))

    async def list(self, prefix: str) -> Sequence[StateEntry]:
        return [self.entries[key] for key in sorted(self.entries) if key.startswith(prefix)]

    async def watch(self, prefix: str) -> AsyncIterator[StateEntry | StateDeletion | None]:
        queue: asyncio.Queue[StateEntry | StateDeletion | None] = asyncio.Queue()
        self._watchers.append((prefix, queue))
        while True:
            yield await queue.get()

    async def append(
        self, kind: str, *, subject: str, by: str | None = None, data: Mapping[str, Any] | None = None
    ) -> StateEvent:
        self._sequence += 1
        event = StateEvent(
            sequence=self._sequence, at=NOW, kind=kind, subject=subject, by=by, data=data or {}
        )
        self.log = [*self.log, event][-self.max_events :]
        return event

    async def events(self, *, after: int = 0, limit: int = 1000) -> Sequence[StateEvent]:
        return [each for each in self.log if each.sequence > after][:limit]

    async def prune(self, prefix: str, *, before: float) -> int:
        return 0

    def _expect(self, key: str, expected: int | None) -> None:
        if self.error is not None:
            raise self.error
        entry = self.entries.get(key)
        if expected is not None and expected != (0 if entry is None else entry.revision):
            raise StateConflictError(f"{key}: was changed meanwhile")

    def _tell(self, change: StateEntry | StateDeletion) -> None:
        for prefix, queue in self._watchers:
            if change.key.startswith(prefix):
                queue.put_nowait(change)

    def miss(self) -> None:
        """Tell those who watch that they have missed some changes."""
        for _, queue in self._watchers:
            queue.put_nowait(None)


class MemoryBoots:
    """Boots in memory."""

    def __init__(self) -> None:
        self.latest: dict[str, NodeBoot] = {}
        self.all: list[NodeBoot] = []
        self._queues: list[asyncio.Queue[NodeBoot | None]] = []

    def note(self, boot: NodeBoot) -> None:
        self.all = [each for each in self.all if each.id != boot.id] + [boot]
        self.latest[boot.subject] = boot
        for queue in self._queues:
            queue.put_nowait(boot)

    async def list_boots(self, subject: str, *, limit: int = 20) -> Sequence[NodeBoot]:
        return [each for each in reversed(self.all) if each.subject == subject][:limit]

    async def find(self, boot_id: str) -> NodeBoot | None:
        return next((each for each in self.all if each.id == boot_id), None)

    async def changes(self) -> AsyncIterator[NodeBoot | None]:
        queue: asyncio.Queue[NodeBoot | None] = asyncio.Queue()
        self._queues.append(queue)
        while True:
            yield await queue.get()


class FixedReleases:
    """Releases that are staged."""

    def __init__(self, *releases: StagedRelease) -> None:
        self.releases = releases

    async def list(self, *, fresh: bool = False) -> Sequence[StagedRelease]:
        return self.releases


def make_boot(node: str | None = "nuc-07", **fields: Any) -> NodeBoot:
    """A boot that is under way, with ``fields`` in place of its own."""
    given: dict[str, Any] = {
        "id": "boot-1",
        "token_hash": "0" * 64,
        "machine": "mac 02:00:00:00:00:07",
        "node": node,
        "group": None if node is None else "runners",
        "release": CURRENT.id,
        "tag": CURRENT.tag,
        "system": "ec-runner-x86_64-netboot",
        "client": "192.0.2.7",
        "stages": {NodeStage.SCRIPT: NOW - 20, NodeStage.KERNEL: NOW - 18},
        **fields,
    }
    return NodeBoot(**given)


@dataclass
class Api:
    """The view and what is behind it."""

    store: MemoryStore = field(default_factory=MemoryStore)
    boots: MemoryBoots = field(default_factory=MemoryBoots)
    releases: FixedReleases = field(default_factory=lambda: FixedReleases(CURRENT, PREVIOUS))
    now: float = NOW
    document: dict[str, Any] = field(default_factory=lambda: FLEET)

    def __post_init__(self) -> None:
        self.fleet = LiveFleet(self.store, clock=lambda: self.now)
        self.rebase()
        self.on_start: list[Callable[[], Awaitable[None]]] = []
        self.withdrawn: list[str] = []
        self.pinned: list[str] = []
        self.rollouts = LiveRollouts(
            self.store,
            fleet=lambda: self.fleet.fleet,
            held=lambda name: (
                (override := self.fleet.get_override(name)) is not None and override.hold is not None
            ),
            latest=lambda: self.boots.latest,
            list_boots=self.boots.list_boots,
            withdraw=self._withdraw,
            clock=lambda: self.now,
            find_release=self._find_release,
        )
        self.fleet.lead = self.rollouts.lead
        self.token_rights = TokenRights([TOKEN], clock=lambda: self.now)
        self.hosts: list[dict[str, Any]] = [
            make_host("boot-1", here=True, clock_ahead=0.2),
            make_host("boot-2", up=False, clock_ahead=-900.0),
        ]
        self.view = FleetView(
            fleet=self.fleet,
            rollouts=self.rollouts,
            pin=self._pin,
            boots=self.boots,
            store=self.store,
            releases=self.releases,
            hosts=self._list_hosts,
            health=self._health,
            metrics=lambda: "figures 1\n",
            title="boot.example",
            clock=lambda: self.now,
            reload_error=lambda: self.reload_error,
        )
        self.hub = EventHub(self.view)
        self.reload_error: str | None = None

    def rebase(self) -> None:
        """Read the document again."""
        made = make_fleet(**self.document)
        self.fleet.set_base(made, Roster(made), where="fleet.toml")

    async def _find_release(self, name: str) -> str | None:
        found = choose_staged(await self.view.releases.list(), name)
        return None if found is None else found.id

    async def _withdraw(self, release_id: str) -> None:
        self.withdrawn.append(release_id)

    async def _pin(self, release_id: str) -> None:
        self.pinned.append(release_id)

    async def _list_hosts(self) -> Sequence[Mapping[str, Any]]:
        return self.hosts

    async def _health(self) -> Mapping[str, Any]:
        return {"status": "ok", "root": True, "release": CURRENT.id}

    @contextlib.asynccontextmanager
    async def serve(
        self, rights: Rights | None = None, *, hosts: KnownHosts | None = None, mount: Sequence[Mount] = ()
    ) -> AsyncIterator[TestClient[Any, Any]]:
        """A client of it; by default one with the rights of the control socket."""
        app = build_app(self.view, rights or SocketRights(), self.hub, hosts=hosts, mount=mount)
        hub = asyncio.create_task(self.hub.run())
        try:
            async with TestClient(TestServer(app)) as client:
                yield client
        finally:
            self.hub.close()
            hub.cancel()
            await asyncio.wait({hub})


@contextlib.contextmanager
def control_socket(path: Path, prepare: Callable[[Api], None]) -> Iterator[Api]:
    """The API at a control socket, from a thread of its own, for commands that wait for its answers."""
    ready, stop, made = threading.Event(), asyncio.Event(), []
    loops = []

    async def serve() -> None:
        api = Api()
        prepare(api)
        for each in api.on_start:
            await each()
        made.append(api)
        loops.append(asyncio.get_running_loop())
        listener = AppListener(
            lambda: build_app(api.view, SocketRights(), api.hub),
            bind=lambda: bind_control(path),
            what="the control socket",
            where=f"unix:{path}",
        )
        await listener.keep_open()
        ready.set()
        await stop.wait()
        api.hub.close()
        await listener.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(60)
    try:
        yield made[0]
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join(60)
