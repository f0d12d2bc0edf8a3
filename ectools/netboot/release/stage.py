"""An archive → the current release, in one pass; nothing half done is ever left, or served."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from ectools import log
from ectools.archive.extract import DIRECTORY_MODE
from ectools.archive.limits import ArchiveLimits
from ectools.errors import EcError
from ectools.fetch.retry import RetryPolicy
from ectools.netboot.release.activation import recover
from ectools.netboot.release.age import check_age, note_time
from ectools.netboot.release.channels import forget_others, note_pointer, note_staged
from ectools.netboot.release.followed import follow, list_group_channels
from ectools.netboot.release.manifest import Release, build_id
from ectools.netboot.release.pins import reinstate
from ectools.netboot.release.prune import Retention, prune_locked
from ectools.netboot.release.publish import make_current, publish
from ectools.netboot.release.reuse import copy_staged
from ectools.netboot.release.share import share_cache
from ectools.netboot.release.source import find_source
from ectools.netboot.release.store import ReleaseBusyError, ReleaseGoneError, ReleaseStore
from ectools.netboot.release.systems import find_unserved
from ectools.netboot.release.unpack import OnProgress, check_told_apart, describe_system, unpack_archive
from ectools.netboot.release.verify import find_damage
from ectools.netboot.settings.model import Forge

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from ectools.archive.file_record import FileRecord
    from ectools.netboot.depot.channel import ChannelPointer
    from ectools.netboot.release.followed import Followed
    from ectools.netboot.release.source import ReleaseSource
    from ectools.netboot.settings.model import NetbootSettings, ReleaseSettings

_log = log.Log(__name__)


class StageOutcome(StrEnum):
    """What a staging did."""

    STAGED = "staged"
    """The archive was unpacked, and its release is current now."""

    REUSED = "reused"
    """The same content was there already, and is current now."""

    UNCHANGED = "unchanged"
    """The same content was current already."""

    WITHDRAWN = "withdrawn"
    """The release was rolled back from: it is there, and what was current stays so."""


@dataclass(frozen=True, kw_only=True)
class Staged:
    """``removed`` are the old releases that were collected."""

    release: Release
    outcome: StageOutcome
    removed: tuple[Release, ...]


def stage(
    settings: NetbootSettings,
    *,
    retry: RetryPolicy | None = None,
    accept_withdrawn: bool = False,
    on_progress: OnProgress = lambda _name, _done, _size: None,
) -> Staged:
    """Stage what ``settings.release`` names, and let ``current`` lead to it; then what groups follow.

    ``on_progress`` hears of each part of the archive as it comes.
    One that was rolled back from is made current only with ``accept_withdrawn``: else the next refresh would
    undo a rollback. Raises EcError, in which case ``current`` leads where it did, and nothing is left of the
    attempt; of one of several channels once the others have been staged.
    """
    staging = _Staging(
        store=ReleaseStore(settings.state_dir),
        settings=settings,
        retry=retry or RetryPolicy(),
        accept_withdrawn=accept_withdrawn,
        on_progress=on_progress,
    )
    own = settings.release.channel
    # Before there is a directory: a name that is wrong shall leave none.
    followed = list_group_channels(settings)
    others = [name for name in followed or () if name != own]
    done: Staged | None = None
    failed: list[EcError] = []
    try:
        done = staging.run(settings.release) if own is None else staging.run_channel(own, is_current=True)
    except EcError as error:
        if not others:
            raise
        _log.warning("the current release could not be staged", channel=own, reason=error.message)
        failed.append(error)
    for name in others:
        try:
            staging.run_channel(name, is_current=False)
        except EcError as error:
            _log.warning("a group's channel could not be staged", channel=name, reason=error.message)
            failed.append(error)
    if len(failed) > len(others):
        raise failed[0]
    kept = None if followed is None else {*others, *([] if own is None else [own])}
    removed = staging.finish(kept)
    if failed or done is None:
        raise failed[0]
    return replace(done, removed=removed)


@dataclass(frozen=True, kw_only=True)
class _Staging:
    """One run: what is wanted, of whom, and who hears of it."""

    store: ReleaseStore
    settings: NetbootSettings
    retry: RetryPolicy
    accept_withdrawn: bool
    on_progress: OnProgress

    def run_channel(self, name: str, *, is_current: bool) -> Staged:
        """Stage what a channel leads to, and let who follows it have that."""
        followed = follow(self.store, self.settings.release, name, self.retry)
        return self.run(followed.settings, followed, is_current=is_current)

    def run(
        self, wanted: ReleaseSettings, followed: Followed | None = None, *, is_current: bool = True
    ) -> Staged:
        store, pointer = self.store, None if followed is None else followed.pointer
        source = find_source(wanted, self.retry, pointer)
        with store.lock_staging() as directory, contextlib.ExitStack() as held:
            if followed is not None:
                with store.lock():
                    note_pointer(store, followed.pointer, where=followed.where)
            for each in source.archives:
                _log.info("staging", archive=each.archive.source, size=each.archive.size, tag=each.tag)
            if isinstance(wanted.source, Forge) and wanted.source.tag is None:
                check_age(store, source)
            tree = directory / "tree"
            release = _find_staged(store, source, held) or _unpack(
                store, source, tree, settings=wanted, on_progress=self.on_progress
            )
            _warn_of_unserved(release, self.settings)
            if tree.is_dir():
                share_cache(store, release, tree)
            with store.lock():
                recover(store)
                try:
                    known = store.directory(release.id).is_dir()
                    if tree.is_dir():
                        release = publish(store, tree, release)
                    _warn_of_other_tag(release, source)
                    if source.released_at is not None:
                        note_time(store, release.id, source.released_at)
                    outcome = self._let_have(release, pointer, known=known, is_current=is_current)
                    return Staged(release=release, outcome=outcome, removed=())
                finally:
                    recover(store)

    def _let_have(
        self, release: Release, pointer: ChannelPointer | None, *, known: bool, is_current: bool
    ) -> StageOutcome:
        """Make a release that is in its place current, and its channel's, unless it was rolled back from."""
        if self.accept_withdrawn:
            # First: what is killed after this has the release staged the next time.
            reinstate(self.store, release.id)
        if is_current:
            outcome = _choose(self.store, release, known=known)
        elif release.id in self.store.list_withdrawn():
            _log.warning("this release was rolled back from; no group is given it", release=release.title)
            outcome = StageOutcome.WITHDRAWN
        else:
            outcome = StageOutcome.REUSED if known else StageOutcome.STAGED
        if pointer is not None and outcome is not StageOutcome.WITHDRAWN:
            note_staged(self.store, pointer, release.id)
        return outcome

    def finish(self, followed: Collection[str] | None) -> tuple[Release, ...]:
        """Let go what is followed no more, where that is known, and remove what is old, which is returned."""
        store = self.store
        with store.lock():
            recover(store)
            try:
                if followed is not None:
                    forget_others(store, followed)
                return _prune_old(store, self.settings.release.keep)
            finally:
                recover(store)


def _warn_of_unserved(release: Release, settings: NetbootSettings) -> None:
    """The machines that the settings let in beside x86-64's by UEFI, and that there is no system for."""
    unserved = find_unserved(release.systems, settings.ipxe.files)
    if unserved:
        _log.warning(
            "the release has no system for machines that are let in: they are told so, and boot nothing",
            machines=[binary.value for binary in unserved],
            systems={each.name: each.architecture for each in release.systems},
            hint="stage one for them too (release.systems, or --tarball once more), or unset ipxe.*File",
        )


def _warn_of_other_tag(release: Release, source: ReleaseSource) -> None:
    """A release has one tag here, and stands under what it was staged as first."""
    if source.tag is not None and release.tag != source.tag:
        _log.warning(
            "the same content is staged under another tag, and keeps that",
            wanted=source.tag,
            release=release.title,
            hint=f"call it {release.tag or release.id} here, in the fleet and in rollouts",
        )


def _choose(store: ReleaseStore, release: Release, *, known: bool) -> StageOutcome:
    """Make a release that is in its place current, unless somebody went back from it."""
    if store.find_link_id("current") == release.id:
        return StageOutcome.UNCHANGED
    if release.id in store.list_withdrawn():
        _log.warning("this release was rolled back from; what is current stays so", release=release.title)
        return StageOutcome.WITHDRAWN
    make_current(store, release.id)
    return StageOutcome.REUSED if known else StageOutcome.STAGED


def _prune_old(store: ReleaseStore, keep: int) -> tuple[Release, ...]:
    """The release is staged by now: what goes wrong here is worth a warning alone."""
    removed = []
    try:
        for collected in prune_locked(store, keep=keep):
            if collected.retention is Retention.REMOVED:
                removed.append(collected.release)
    except (OSError, EcError) as error:
        _log.warning("old releases could not be removed", reason=str(error))
    return tuple(removed)


def _find_staged(store: ReleaseStore, source: ReleaseSource, held: contextlib.ExitStack) -> Release | None:
    """The release of these very archives where it is there, whole, and need not be downloaded again.

    It is held from now on. A file of this machine is read all the same: the published sum may not be its.
    """
    wanted = source.wanted_sums
    if wanted is None or source.is_local:
        return None
    for release in store.list_releases():
        if sorted(each.archive_sha256 for each in release.systems) != wanted:
            continue
        try:
            held.enter_context(store.hold(release.id))
        except (ReleaseGoneError, ReleaseBusyError):
            continue
        if not find_damage(release, store.directory(release.id)):
            return release
        _log.warning("a staged release is damaged; it is downloaded again", release=release.title)
    return None


def _unpack(
    store: ReleaseStore,
    source: ReleaseSource,
    tree: Path,
    *,
    settings: ReleaseSettings,
    on_progress: OnProgress,
) -> Release:
    """The release of all archives in ``tree``: of several, each in a directory of its system's name."""
    several = len(source.archives) > 1
    files: dict[str, FileRecord] = {}
    systems = []
    tree.mkdir(mode=0o700)
    for each in source.archives:
        # What the archives before it have left.
        limits = ArchiveLimits(
            unpacked_bytes=settings.max_unpacked - sum(record.size for record in files.values()),
            files=settings.max_files - len(files),
        )
        prefix = f"{each.system}/" if several else ""
        directory = tree / prefix
        if several:
            directory.mkdir()
            directory.chmod(DIRECTORY_MODE)
        found = copy_staged(store, each, directory, limits=limits)
        if found is None:
            found = unpack_archive(each, directory, limits=limits, on_progress=on_progress)
        systems.append(describe_system(each, directory, found, prefix=prefix))
        files |= {f"{prefix}{name}": record for name, record in found.items()}
    check_told_apart(systems)
    return Release(
        id=build_id(files),
        tag=source.tag,
        staged_at=int(time.time()),
        files=files,
        systems=tuple(systems),
    )
