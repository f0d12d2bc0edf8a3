"""The boots of machines: begun, seen at stages, reported on, ended. Memory has the newest, a store all.

A boot's token is known to its machine alone, and its hash to the store. While a machine may ask for the same
script once more, the token is in memory too.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from ectools.errors import EcError
from ectools.netboot.boots.archive import BootArchive, make_id
from ectools.netboot.boots.deadlines import BootDeadlines
from ectools.netboot.boots.elapsed import ElapsedTime
from ectools.netboot.boots.installing import InstallRefusedError, advance, describe_fault
from ectools.netboot.boots.keeping import BootKeeper
from ectools.netboot.boots.memory import BootMemory, LiveBoot, hash_token
from ectools.netboot.boots.merge import is_later, merge_boots
from ectools.netboot.boots.model import BootInstall, BootState, InstallStep, NodeBoot, NodeReport, NodeStage
from ectools.netboot.boots.progress import BootProgress, take_update
from ectools.netboot.state.interface import StateError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Container, Mapping, Sequence

    from ectools.netboot.boots.installing import InstallWord
    from ectools.netboot.boots.model import BootUpdate
    from ectools.netboot.state.interface import StateStore

STRAY_SECONDS = 3600.0
"""Since its last change, after which a boot that the store has and memory has not is forgotten."""
_TOKEN_BYTES = 24


class ReportError(EcError):
    """A report is not taken: its token is nobody's, used up, or over. Which of them is not said."""


class SpentTokenError(EcError):
    """A boot's token has led to another boot already, or its machine has begun one otherwise."""


class BootRegister:
    """The register of one boot server. ``clock`` gives Unix seconds; ``knows_time``: whether they are those
    that other hosts go by, without which nothing of theirs is judged, and ``hears`` whether all of that is
    heard of now. ``ticks``: as in ``ElapsedTime``.

    ``load`` comes first, again and again where the store cannot be read; ``expire`` and ``write`` are to be
    called now and then. Without a store that can be written, boots go on in memory, and are written later.
    """

    def __init__(
        self,
        store: StateStore,
        *,
        clock: Callable[[], float] = time.time,
        knows_time: Callable[[], bool] = lambda: True,
        hears: Callable[[], bool] = lambda: True,
        ticks: Callable[[], float] | None = None,
    ) -> None:
        self._archive = BootArchive(store)
        self._memory = BootMemory()
        self._keeper = BootKeeper(self._archive, self._memory)
        self._clock = clock
        self._knows_time = knows_time
        self._elapsed = ElapsedTime(ticks)
        self._progress = BootProgress(self._memory, clock=clock)
        self._deadlines = BootDeadlines(
            self._memory,
            self._progress,
            clock=clock,
            knows_time=knows_time,
            hears=hears,
            elapsed=self._elapsed,
        )
        self.counts = self._progress.counts
        self.is_loaded = False
        """Whether what the store has was read: until then a token that is unknown may be an earlier one's."""

    @property
    def latest(self) -> Mapping[str, NodeBoot]:
        """Subject → its newest boot."""
        return MappingProxyType(self._memory.latest)

    @property
    def unwritten(self) -> int:
        """How many boots the store does not have as they are."""
        return len(self._memory.unwritten)

    def changes(self) -> AsyncIterator[NodeBoot | None]:
        """Each boot as it changes, from now on; None where some were missed."""
        return self._progress.changes.listen()

    async def load(self) -> None:
        """Read what the store has, once. Raises StateError: nothing is known of earlier boots as yet."""
        if self.is_loaded:
            return
        for boot in await self._archive.load():
            if boot.subject not in self._memory.newest:  # else it has begun another since
                # By which clock they were begun is known where the time is.
                is_foreign = not self._knows_time()
                self._memory.enter(LiveBoot(boot=boot, is_kept=True, is_foreign=is_foreign))
        self.is_loaded = True
        self._deadlines.open()
        self._progress.changes.publish(None)

    def move_own(self, seconds: float) -> None:
        """The clock was moved, for the first time: the boots that were begun here by it are moved too."""
        self._deadlines.move(seconds)
        for live in self._memory.list_all() if seconds else ():
            if not live.is_foreign:
                boot = live.boot
                stages = {stage: at + seconds for stage, at in boot.stages.items()}
                ended = None if boot.ended is None else boot.ended + seconds
                update = boot.update and replace(boot.update, at=boot.update.at + seconds)
                asked = None if boot.asked is None else boot.asked + seconds
                live.boot = replace(boot, stages=stages, ended=ended, update=update, asked=asked)
                self._progress.change(live)

    async def follow(self) -> None:
        """Take over what other boot servers see of boots, until cancelled. Raises StateError."""
        changes = self._archive.watch()
        for boot in await self._archive.load():
            self.learn(boot)
        async for changed in changes:
            for boot in await self._archive.load() if changed is None else [changed]:
                self.learn(boot)

    def learn(self, boot: NodeBoot) -> None:
        """What the store has as a subject's newest boot: another boot server may have written it."""
        live, newest = self._memory.find(boot.id), self._memory.newest.get(boot.subject)
        if live is not None:
            merged = merge_boots(live.boot, boot)
            if merged == live.boot:
                return
            live.boot, live.token = merged, None
            self._memory.change(live)
            if merged == boot:
                self._memory.note_kept(live)
        elif newest is None or is_later(boot, newest.boot):
            if newest is not None:
                self._progress.supersede(boot)
            live = LiveBoot(boot=boot, is_kept=True, is_foreign=True)
            self._memory.enter(live)
        else:
            live = LiveBoot(boot=boot, is_foreign=True)
            self._memory.enter_earlier(live)
        self._memory.bound_journals(live.boot)
        self._progress.changes.publish(live.boot)

    async def begin(
        self,
        *,
        machine: str,
        node: str | None,
        group: str | None,
        release: str,
        tag: str | None,
        system: str,
        client: str | None,
        within: float,
        store_path: str | None = None,
        order: str | None = None,
        from_disk: bool = False,
        seen: Mapping[NodeStage, float] | None = None,
        after: str | None = None,
    ) -> tuple[NodeBoot, str]:
        """A boot and its token, kept when this returns, unless the store cannot keep it in time.

        A machine that asks again from the same address before it has loaded a kernel is still at the same
        boot. ``order``: of the installation that it is for. ``from_disk``, ``after``: as in ``NodeBoot``.
        ``seen``: stages before the script → how many seconds ago.
        """
        now, token = self._clock(), secrets.token_urlsafe(_TOKEN_BYTES)
        boot = NodeBoot(
            id=make_id(node or machine, now),
            token_hash=hash_token(token),
            machine=machine,
            node=node,
            group=group,
            release=release,
            tag=tag,
            system=system,
            store_path=store_path,
            client=client,
            within=within,
            install=None if order is None else BootInstall(order=order),
            from_disk=from_disk,
            after=after,
            stages={**{stage: now - ago for stage, ago in (seen or {}).items()}, NodeStage.SCRIPT: now},
        )
        live = self._find_same(boot)
        if live is None:
            live = LiveBoot(boot=boot, token=token, begun=self._elapsed.now())
            before = self._progress.supersede(boot)
            self._progress.begin(live)
            # In this order: a crash between the two leaves one too many, and none too few.
            await self._keeper.write_in_time([live] if before is None else [before, live])
        elif not live.is_kept:
            await self._keeper.write_in_time([live])
        return live.boot, live.token or token

    def need_last(self, boot: NodeBoot) -> None:
        """Raises SpentTokenError where a boot's machine has begun another one that was seen since.

        What follows it itself may be asked for again, as long as nothing has come of it: an answer is lost.
        """
        newest = self._memory.newest.get(boot.subject)
        if newest is None or newest.boot.id == boot.id:
            return
        if newest.boot.after != boot.id or newest.boot.last_stage is not NodeStage.SCRIPT:
            raise SpentTokenError("the machine has begun another boot since")

    def see(self, boot_id: str, stage: NodeStage) -> None:
        """A boot was seen at a stage; the first time counts."""
        self._see(self._memory.find(boot_id), stage)

    def see_by_token(self, token: str, stage: NodeStage) -> None:
        """As ``see``, by the boot's token."""
        self._see(self._memory.find_by_token(token), stage)

    def _see(self, live: LiveBoot | None, stage: NodeStage) -> None:
        if live is not None and stage not in live.boot.stages and live.boot.state is not BootState.HEALTHY:
            self._progress.reach(live, stage)

    def knows(self, token: str) -> bool:
        """Whether a token is some boot's, and its time is not over."""
        live = self._memory.find_by_token(token)
        return live is not None and not self._deadlines.is_over(live)

    def find_by_token(self, token: str) -> NodeBoot | None:
        """The boot whose token that is: of those in memory, however long ago it began; None for no one's."""
        live = self._memory.find_by_token(token)
        return None if live is None else live.boot

    async def report(self, token: str, stage: NodeStage, report: NodeReport | None) -> NodeBoot:
        """What a node says, kept when this returns. Raises ReportError; StateError: it may say it again.

        ``report`` comes with ``NodeStage.UP`` alone. One that has been taken before is taken again, because
        its answer may have been lost.
        """
        live = self._memory.find_by_token(token)
        now = self._clock()
        if live is None or self._deadlines.is_over(live):
            raise ReportError("the report's token is unknown, or was used before, or its time is over")
        boot = live.boot
        if report is not None and _is_same(report, boot.report):
            pass
        elif boot.state is BootState.HEALTHY:
            raise ReportError("the report's token is unknown, or was used before, or its time is over")
        elif report is not None:
            self._progress.take_report(live, report, now=now)
        elif stage not in boot.stages:
            self._progress.reach(live, stage)
        if not live.is_kept:
            await self._keeper.write([live])
        return live.boot

    def note_store(self, token: str, percent: int) -> NodeBoot:
        """So much of its store has a node fetched. It is kept with what comes next: it comes often.

        Raises ReportError.
        """
        live = self._memory.find_by_token(token)
        if live is None or not self.knows(token) or live.boot.state is BootState.HEALTHY:
            raise ReportError("the report's token is unknown, or was used before, or its time is over")
        # Where it began anew, in memory in place of a disk, it is at less than before.
        if live.boot.store_percent != percent:
            live.boot = replace(live.boot, store_percent=percent)
            self._progress.reach(live, NodeStage.STORE)
        return live.boot

    def find_reporting(self, token: str) -> NodeBoot | None:
        """The boot of a token that is good for reports; None where it is good for none."""
        return self.find_by_token(token) if self.knows(token) else None

    async def install(self, token: str, word: InstallWord) -> NodeBoot:
        """What a node says as it installs, kept when this returns; what was said before is taken again.

        Raises ReportError, InstallRefusedError; StateError: it may say it again.
        """
        live, now = self._memory.find_by_token(token), self._clock()
        if live is None or not self.knows(token):
            raise ReportError("the installation's token is unknown, or its time is over")
        if not self._memory.is_newest(live):
            raise InstallRefusedError("its machine has asked for another boot since")
        boot = advance(live.boot, word)
        if boot is not live.boot:
            if boot.state is BootState.FAILED and word.error is None and now <= boot.deadline:
                boot = replace(boot, state=BootState.BOOTING, why=None, ended=None)  # it tries once more
            live.boot = boot
            is_done = word.step is InstallStep.DONE
            self._progress.reach(live, NodeStage.INSTALLED if is_done else NodeStage.INSTALLING)
            if (fault := describe_fault(live.boot)) is not None:
                self._progress.conclude(live, BootState.FAILED, fault, now=now)
        if not live.is_kept:
            await self._keeper.write([live])
        return live.boot

    async def note_update(self, token: str, update: BootUpdate) -> NodeBoot:
        """What a node that runs says of its way to the next release, kept when this returns.

        Where it stays with what it runs, the release is the boot's from now on. Raises ReportError: the token
        is not that of its newest boot, or that is not healthy, and it stays; StateError: it may say it again.
        """
        live = self._memory.find_by_token(token)
        if live is None or not self._memory.is_newest(live):
            raise ReportError("the boot's token is unknown, or its machine has begun another boot since")
        if update.stays and live.boot.state is not BootState.HEALTHY:
            raise ReportError("the boot is not healthy: nobody knows what runs")
        if live.boot.update != update:
            live.boot = take_update(live.boot, update)
            self._progress.change(live)
        if not live.is_kept:
            await self._keeper.write([live])
        return live.boot

    def note_asking(self, boot: NodeBoot, *, period: float) -> None:
        """A boot's system has asked what is next. It asks often: that is kept once in ``period`` seconds."""
        live, now = self._memory.find(boot.id), self._clock()
        if live is None or not self._memory.is_newest(live) or not self._knows_time():
            return
        # One ahead of us is of a clock that was set back since.
        if live.boot.asked is None or not 0 <= now - live.boot.asked < period:
            live.boot = replace(live.boot, asked=now)
            self._memory.change(live)  # which is no news to anybody

    async def expire(self) -> None:
        """Boots past their deadline have failed."""
        self._deadlines.expire()

    async def write(self) -> None:
        """Bring the store up to date. Where that fails, it is tried again next time."""
        with contextlib.suppress(StateError):  # the store has said so
            await self._keeper.write_all()

    async def prune(self, *, days: float, nodes: Container[str]) -> None:
        """Forget boots that ended longer ago, but the newest of each of ``nodes``. Raises StateError."""
        if not self._knows_time():
            return
        before = self._clock() - days * 86400
        for subject, boot in list(self._memory.latest.items()):
            if subject not in nodes and max(boot.started, boot.ended or 0.0) < before:
                self._memory.forget(subject)
        await self._archive.prune(before=before)
        if self.is_loaded:
            await self._keeper.sweep(before=self._clock() - STRAY_SECONDS, unreadable_before=before)

    async def list_boots(self, subject: str, *, limit: int = 20) -> Sequence[NodeBoot]:
        """The boots of a subject, the newest first. Raises StateError."""
        earlier = {each.id: each for each in await self._archive.list_earlier(subject)}
        unwritten = [each.boot for each in self._memory.unwritten.values() if each.boot.subject == subject]
        earlier |= {each.id: each for each in unwritten}
        newest = self._memory.newest.get(subject)
        if newest is not None:
            earlier.pop(newest.boot.id, None)  # it may have been an earlier one for a while
        others = [earlier[each] for each in sorted(earlier, reverse=True)]
        return (others if newest is None else [newest.boot, *others])[:limit]

    async def find(self, boot_id: str) -> NodeBoot | None:
        """The boot of an id, None where there is none. Raises StateError."""
        live = self._memory.find(boot_id)
        return await self._archive.find_earlier(boot_id) if live is None else live.boot

    def _find_same(self, asked: NodeBoot) -> LiveBoot | None:
        """The boot that a machine is at already, if it may be given its token once more."""
        live = self._memory.newest.get(asked.subject)
        if live is None or live.token is None or asked.started > live.boot.deadline:
            return None
        boot = live.boot
        # From another address it may be another machine, which says that it is this one.
        is_same = all(
            getattr(boot, name) == getattr(asked, name)
            for name in ("machine", "client", "release", "system", "install", "from_disk", "after")
        )
        return live if is_same else None


def _is_same(report: NodeReport, before: NodeReport | None) -> bool:
    """Whether it is sent once more; the node's clock has gone on meanwhile."""
    return before is not None and replace(report, clock=before.clock) == before
