"""An archive → the current release, in one pass; nothing half done is ever left, or served."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from ectools import log
from ectools.archive.decompress import ArchiveError, decompress
from ectools.archive.extract import extract
from ectools.archive.limits import ArchiveLimits
from ectools.errors import EcError, show_list
from ectools.fetch.retry import RetryPolicy
from ectools.ipxe.language import NETBOOT_NAME
from ectools.netboot.release.activation import recover
from ectools.netboot.release.age import check_age, note_time
from ectools.netboot.release.boot_entry import MAX_SCRIPT_BYTES, parse_boot_entry
from ectools.netboot.release.checksums import verify_checksum
from ectools.netboot.release.download import LocalArchive
from ectools.netboot.release.manifest import Release, build_id
from ectools.netboot.release.pins import unmark
from ectools.netboot.release.prune import Retention, prune_locked
from ectools.netboot.release.publish import make_current, publish
from ectools.netboot.release.source import ReleaseSource, find_source
from ectools.netboot.release.store import ReleaseBusyError, ReleaseGoneError, ReleaseStore
from ectools.netboot.release.verify import find_damage
from ectools.netboot.settings.model import Forge

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from ectools.netboot.release.download import Archive
    from ectools.netboot.settings.model import NetbootSettings, ReleaseSettings

_log = log.Log(__name__)

OnProgress = Callable[[str, int, int | None], None]
"""Is told an archive's name, its bytes that have come, and all its bytes where that is known."""


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
    """Stage what ``settings.release`` names, and let ``current`` lead to it.

    ``on_progress`` hears of each part of the archive as it comes.
    One that was rolled back from is made current only with ``accept_withdrawn``: else the next refresh would
    undo a rollback. Raises EcError, in which case ``current`` leads where it did, and nothing is left of the
    attempt.
    """
    store = ReleaseStore(settings.state_dir)
    # Before there is a directory: a name that is wrong shall leave none.
    source = find_source(settings.release, retry or RetryPolicy())
    with store.lock_staging() as directory, contextlib.ExitStack() as held:
        _log.info("staging", archive=source.archive.source, size=source.archive.size, tag=source.tag)
        if isinstance(settings.release.source, Forge) and settings.release.source.tag is None:
            check_age(store, source)
        tree = directory / "tree"
        release = _find_staged(store, source, held) or _unpack(
            source, tree, settings.release, on_progress=on_progress
        )
        with store.lock():
            recover(store)
            try:
                known = store.directory(release.id).is_dir()
                if tree.is_dir():
                    release = publish(store, tree, release)
                if source.released_at is not None:
                    note_time(store, release.id, source.released_at)
                outcome = _choose(store, release, known=known, accept_withdrawn=accept_withdrawn)
                removed = _prune_old(store, settings.release.keep)
                return Staged(release=release, outcome=outcome, removed=removed)
            finally:
                recover(store)


def _choose(store: ReleaseStore, release: Release, *, known: bool, accept_withdrawn: bool) -> StageOutcome:
    """Make a release that is in its place current, unless somebody went back from it."""
    if store.find_link_id("current") == release.id:
        return StageOutcome.UNCHANGED
    if release.id in store.list_withdrawn() and not accept_withdrawn:
        _log.warning("this release was rolled back from; what is current stays so", release=release.title)
        return StageOutcome.WITHDRAWN
    make_current(store, release.id)
    unmark(store.withdrawn_dir, release.id)
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
    """The release of this very archive where it is there, whole, and need not be downloaded again.

    It is held from now on. A file of this machine is read all the same: the published sum may not be its.
    """
    if source.wanted_sha256 is None or isinstance(source.archive, LocalArchive):
        return None
    for release in store.list_releases():
        if release.archive_sha256 != source.wanted_sha256:
            continue
        try:
            held.enter_context(store.hold(release.id))
        except (ReleaseGoneError, ReleaseBusyError):
            continue
        if not find_damage(release, store.directory(release.id)):
            return release
        _log.warning("a staged release is damaged; it is downloaded again", release=release.title)
    return None


def _watch(archive: Archive, on_progress: OnProgress) -> Generator[bytes, None, None]:
    done = 0
    for chunk in archive.chunks():
        done += len(chunk)
        on_progress(archive.name, done, archive.size)
        yield chunk


def _unpack(
    source: ReleaseSource, tree: Path, settings: ReleaseSettings, *, on_progress: OnProgress
) -> Release:
    archive = source.archive
    limits = ArchiveLimits(unpacked_bytes=settings.max_unpacked, files=settings.max_files)
    tree.mkdir(mode=0o700)
    with contextlib.closing(_watch(archive, on_progress)) as chunks:
        unpacked = decompress(chunks, archive=archive.name, limits=limits)
        files = extract(unpacked, tree, archive=archive.name, limits=limits)
    if source.wanted_sha256 is not None:
        verify_checksum(
            archive.sha256(), wanted=source.wanted_sha256, archive=archive.name, where=source.sums
        )
    if NETBOOT_NAME not in files:
        raise ArchiveError(
            f"{archive.name}: has no {NETBOOT_NAME}; it has {show_list(sorted(files), nothing='no file')}",
            hint="a release's archive holds kernel, initrd and netboot.ipxe, in no directory",
        )
    with (tree / NETBOOT_NAME).open("rb") as file:
        boot = parse_boot_entry(file.read(MAX_SCRIPT_BYTES + 1), files)
    return Release(
        id=build_id(files),
        tag=source.tag,
        source=archive.source,
        archive_name=archive.name,
        archive_sha256=archive.sha256(),
        staged_at=int(time.time()),
        files=files,
        boot=boot,
    )
