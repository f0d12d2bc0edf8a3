"""The fleet in force: the settings' and the file's, the nodes that were added to it, and what is said of each
node for a while. A change is in force as soon as it is kept, and after whatever happens then.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ectools import log
from ectools.errors import EcError, InputError, cut, show_list
from ectools.netboot.fleet.added import AddedNode, build_added, find_contradiction, join_added
from ectools.netboot.fleet.assignment import Assignment, LedRelease, assign
from ectools.netboot.fleet.kept import ADDED_NODES, OVERRIDES, KeptFleet
from ectools.netboot.fleet.model import Fleet, NodeTarget
from ectools.netboot.fleet.override import (
    ONCE_TARGETS,
    BootOnce,
    NodeHold,
    NodeOverride,
    begin_install,
    encode_override,
    end_install,
)
from ectools.netboot.fleet.roster import Roster
from ectools.netboot.state.interface import StateConflictError
from ectools.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ectools.netboot.fleet.install import NodeInstall
    from ectools.netboot.fleet.model import Node
    from ectools.netboot.state.interface import StateStore

_log = log.Log(__name__)

MAX_ADDED = 10_000
"""Nodes that can be added. More of them belong into a file, which is checked as one."""
_MAX_TRIES = 4
_KEPT_SECONDS = 2.0


class UnknownNodeError(InputError):
    """The fleet has no node of that name."""


class ContradictionError(InputError):
    """What is asked for contradicts the fleet, or what was said of the node before."""


class LiveFleet:
    """The fleet, as it is changed while it is used. ``clock`` gives Unix seconds.

    ``on_change`` are called with the name of each node that is another than before.
    """

    def __init__(self, store: StateStore, *, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._base = self.fleet = Fleet()
        self._base_roster = self.roster = Roster(Fleet())
        self._where = "the settings"
        self._kept = KeptFleet()
        self._nameless: set[str] = set()
        self._changing = asyncio.Lock()
        self.is_loaded = False
        """Whether what the store has was read: until then nobody is held, and no credential is known."""
        self.left_out: dict[str, str] = {}
        """Nodes that were added, and contradict what was written since → why."""
        self.on_change: list[Callable[[str], None]] = []
        self.lead: Callable[[Node], LedRelease | None] = lambda _: None
        """Says to which release a rollout leads a node, if one does."""

    # What is so

    def set_base(self, fleet: Fleet, roster: Roster, *, where: str) -> None:
        """Another fleet of the settings and the file, from now on; ``where`` names them in messages."""
        self._base, self._base_roster, self._where = fleet, roster, where
        self._join()
        self._warn_of_nameless()

    @property
    def added(self) -> Mapping[str, AddedNode]:
        """The nodes that were added, those left out too."""
        return self._kept.added

    @property
    def overrides(self) -> Mapping[str, NodeOverride]:
        """What is said of nodes for a while, by their names."""
        return self._kept.overrides

    def get_override(self, name: str) -> NodeOverride | None:
        """What is said of a node for a while, if anything."""
        return self._kept.overrides.get(name)

    def assign(self, node: Node) -> Assignment:
        """What a node of the fleet boots next."""
        return assign(self.fleet, node, self._kept.overrides.get(node.name), self.lead(node))

    def need(self, name: str) -> Node:
        """The node of that name. Raises UnknownNodeError with what was probably meant."""
        node = self.fleet.nodes.get(name)
        if node is None and (why := self.left_out.get(name)) is not None:
            hint = f"`ectools fleet remove {name}` forgets it"
            raise UnknownNodeError(f"{name}: was added, and is left out: {why}", hint=hint)
        if node is None:
            known = did_you_mean(name, self.fleet.nodes) or f"it has {_count(len(self.fleet.nodes))}"
            raise UnknownNodeError(f"{cut(name)}: the fleet has no such node", hint=known)
        return node

    # What is changed. Each raises StateError where it cannot be kept: then it is not in force.

    async def hold(self, name: str, *, by: str | None, why: str | None = None) -> NodeOverride:
        """It boots nothing until it is released. Raises UnknownNodeError."""
        self.need(name)
        hold = NodeHold(at=self._clock(), by=by, why=why)
        changed = await self.change(name, lambda now: now.say(hold=hold))
        await self._store.append("node-held", subject=name, by=by, data={"why": why})
        return changed

    async def release(self, name: str, *, by: str | None) -> NodeOverride:
        """It boots what the fleet says, from now on: what was said for a while is gone. Of a name that is no
        node's any more, all is forgotten.

        Raises UnknownNodeError, and ContradictionError where nothing was said, or the fleet itself holds it.
        """
        if name not in self.fleet.nodes and name in self._kept.overrides:
            changed = await self.change(name, lambda _: NodeOverride())
            await self._store.append("node-released", subject=name, by=by)
            return changed
        node = self.need(name)
        override = self._kept.overrides.get(name, NodeOverride())
        if not override.leads:
            if node.hold:
                raise ContradictionError(
                    f"{name}: is held by the fleet itself (nodes.{name}.hold)", hint=f"change {self._where}"
                )
            if override.is_unclear:
                raise ContradictionError(
                    f"{name}: is held, as what was installed on it cannot be read by this version",
                    hint=f"update this boot host; or `ectools fleet boot-once {name}` says what it boots",
                )
            raise ContradictionError(f"{name}: is not held, and boots nothing once")
        changed = await self.change(name, NodeOverride.released)
        await self._store.append("node-released", subject=name, by=by)
        return changed

    async def boot_once(
        self, name: str, boot: NodeTarget, *, by: str | None, release: str | None = None
    ) -> NodeOverride:
        """It boots this at its next boot alone, also where it is held. Raises UnknownNodeError, and
        ContradictionError.
        """
        self.need(name)
        if boot not in ONCE_TARGETS:
            raise ContradictionError(
                f"{name}: cannot boot {boot} once", hint=f"one of {', '.join(ONCE_TARGETS)}"
            )
        if release is not None and not boot.is_over_network:
            raise ContradictionError(f"{name}: a release is booted over the network, not from {boot}")
        once = BootOnce(boot=boot, release=release, at=self._clock(), by=by)
        changed = await self.change(name, lambda now: now.say(once=once))
        data = {"boot": boot.value, "release": release}
        await self._store.append("node-boot-once", subject=name, by=by, data=data)
        return changed

    def list_orders(self) -> dict[str, BootOnce]:
        """The nodes that boot something once, and have been given its script → what it is."""
        orders = ((name, override.once) for name, override in self._kept.overrides.items())
        return {name: once for name, once in orders if once is not None and once.given is not None}

    def list_ordered_releases(self) -> frozenset[str] | None:
        """The tags or ids of releases that nodes are to boot once, and have not yet; None: not known as yet.

        Also of nodes that the fleet lacks, because its file is being edited.
        """
        if not self.is_loaded:
            return None
        orders = (override.once for override in self._kept.overrides.values())
        return frozenset(once.release for once in orders if once is not None and once.release is not None)

    async def note_given(self, name: str, once: BootOnce, *, boot_id: str | None) -> None:
        """The script of ``once`` is about to be given: it began the boot of that id.

        It is in force here also where it cannot be kept: a node must not boot it again and again for that.
        """
        given = replace(once, given=once.given or self._clock(), boot_id=boot_id)
        await self._change_anyway(name, lambda now: now.say(once=given) if _same(now.once, once) else now)

    async def end_once(self, name: str, once: BootOnce) -> None:
        """``once`` is used up, unless something else was said meanwhile; as ``note_given``."""
        await self._change_anyway(name, lambda now: now.say(once=None) if _same(now.once, once) else now)

    async def note_install(self, name: str, install: NodeInstall) -> None:
        """An installation is about to write, or has ended (``done``), which is told the first time that it is
        said. Raises StateError, EcError.
        """
        note, is_news = end_install if install.done else begin_install, False

        def take(now: NodeOverride) -> NodeOverride:
            nonlocal is_news
            after = note(now, install)
            is_news = after != now
            return after

        await self.change(name, take)
        if not is_news:
            return
        kind = "node-installed" if install.done else "node-install-begun"
        data = {"release": install.release, "system": install.system, "disk": install.disk}
        await self._store.append(kind, subject=name, data=data)

    async def _change_anyway(self, name: str, change: Callable[[NodeOverride], NodeOverride]) -> None:
        try:
            async with asyncio.timeout(_KEPT_SECONDS):  # nobody's boot waits longer for a disk that hangs
                await self.change(name, change)
        except (EcError, TimeoutError):  # the store says so
            override = change(self._kept.overrides.get(name, NodeOverride()))
            self._kept.impose(name, override)
            self._tell(name)

    async def add(self, name: str, raw: Mapping[str, Any], *, by: str | None) -> Node:
        """A node more, in the form that a fleet file has. Raises ProblemsError, ContradictionError."""
        added = build_added(name, raw, at=self._clock(), by=by)
        async with self._changing:
            if name in self._kept.added:
                raise ContradictionError(
                    f"{name}: was added already", hint=f"`ectools fleet remove {name}` takes it away"
                )
            if len(self._kept.added) >= MAX_ADDED:
                raise ContradictionError(
                    f"{MAX_ADDED} nodes were added, and no more can be", hint="use a file"
                )
            others = f"{self._where} or among the nodes that were added"
            why = find_contradiction(added.node, self.fleet, self.roster, where=others)
            if why is not None:
                raise ContradictionError(f"{name}: {why}", hint="each machine is one node's, each name once")
            revision = await self._store.put(ADDED_NODES + name, added.encode(), expected=0)
            self._kept.put_added(name, added, revision)
            self._join()
        self._tell(name)
        await self._store.append("node-added", subject=name, by=by, data={"node": dict(raw)})
        return added.node

    async def remove(self, name: str, *, by: str | None) -> None:
        """A node that was added is one no more. Raises UnknownNodeError, ContradictionError."""
        async with self._changing:
            if name not in self._kept.added:
                self.need(name)
                raise ContradictionError(
                    f"{name}: was not added, but stands in {self._where}", hint="take it away there"
                )
            await self._store.delete(ADDED_NODES + name, expected=self._kept.get_revision(ADDED_NODES + name))
            self._kept.put_added(name, None, None)
            self._join()
        self._tell(name)
        if name not in self.fleet.nodes and name in self._kept.overrides:
            await self.change(name, lambda _: NodeOverride())
        await self._store.append("node-removed", subject=name, by=by)

    # What is kept

    async def load(self) -> None:
        """Take over what the store has, others' changes too. Raises StateError."""
        async with self._changing:
            changed: set[str] = set()
            for prefix in (ADDED_NODES, OVERRIDES):
                entries = {entry.key: entry for entry in await self._store.list(prefix)}
                for key in {*entries, *self._kept.list_keys(prefix)}:
                    if self._kept.adopt(key, entries.get(key)):
                        changed.add(key.removeprefix(prefix))
            self._join()
            self._warn_of_nameless()
            self.is_loaded = True
        for name in changed:
            self._tell(name)

    async def follow(self, prefix: str) -> None:
        """Take over what others write below ``prefix``, until cancelled. Raises StateError."""
        changes = self._store.watch(prefix)
        await self.load()
        async for changed in changes:
            if changed is None:
                await self.load()
            else:
                await self._look_at(changed.key, prefix)

    async def _look_at(self, key: str, prefix: str) -> None:
        """Take over what stands at one key by now: more may have been written since it was told of."""
        name = key.removeprefix(prefix)
        async with self._changing:  # what is being written here is known once it is
            if not self._kept.adopt(key, await self._store.get(key)):
                return
            if prefix == ADDED_NODES:
                self._join()
            if name not in self.fleet.nodes or name in self._nameless:
                self._warn_of_nameless()
        self._tell(name)

    async def change(self, name: str, change: Callable[[NodeOverride], NodeOverride]) -> NodeOverride:
        """The override of a node, changed in the store and then here; others' changes in between are kept.

        Raises StateError, EcError.
        """
        key = OVERRIDES + name
        async with self._changing:
            for _ in range(_MAX_TRIES):
                before = self._kept.overrides.get(name, NodeOverride())
                after = change(before)
                if after == before:
                    return after
                try:
                    revision = await self._write(key, after)
                except StateConflictError:
                    self._kept.adopt(key, await self._store.get(key, fresh=True))
                else:
                    self._kept.put_override(name, after, revision)
                    self._tell(name)
                    return after
        raise EcError(f"{name}: is being changed by others all the time", hint="try again")

    async def _write(self, key: str, override: NodeOverride) -> int | None:
        expected = self._kept.get_revision(key)
        if override.is_empty:
            await self._store.delete(key, expected=expected)
            return None
        return await self._store.put(key, encode_override(override), expected=expected)

    def _join(self) -> None:
        self.fleet, self.roster, left_out = join_added(
            self._base, self._base_roster, self._kept.added, where=self._where
        )
        for name, why in left_out.items():
            if self.left_out.get(name) != why:
                hint = f"`ectools fleet remove {name}` forgets what was added"
                _log.warning("a node that was added is left out", node=name, reason=why, hint=hint)
        self.left_out = left_out

    def _warn_of_nameless(self) -> None:
        """Of what is said of nodes that the fleet has no more. It stays: a file that is being edited must not
        lose what somebody has said.
        """
        nameless = {name for name in self._kept.overrides if name not in self.fleet.nodes}
        new = sorted(nameless - self._nameless)
        if new:
            _log.warning(
                "the fleet has nodes no more of which something is said still: a node that gets their name is"
                " held, sent on, or taken for installed by it",
                nodes=show_list(new),
                hint="`ectools fleet release NAME` forgets it",
            )
        self._nameless = nameless

    def _tell(self, name: str) -> None:
        for call in self.on_change:
            call(name)


def _same(now: BootOnce | None, once: BootOnce) -> bool:
    """Whether it is the same order, however often its script was given."""
    return now is not None and (now.at, now.by, now.boot) == (once.at, once.by, once.boot)


def _count(nodes: int) -> str:
    return "1 node" if nodes == 1 else f"{nodes} nodes"
