"""The directory of staged releases: what stands in it, and the right to use it.

    releases/<id>/      the files of a release, and release.json; of several systems, each has a directory
    current, previous   relative links to one of them, swapped by rename
    channels/<name>     what a channel was last seen to lead to, and its counter (ECP-0110)
    pinned/<id>         an empty file: this release is never collected
    released/<id>       when the release was published, in seconds since 1970, where that was signed
    withdrawn/<id>      an empty file: somebody went back from this release; staging does not make it current,
                        also when it comes again (``pins``)
    fleet/led/<id>, fleet/withdrawn/<id>
                        what rollouts need, and have gone back from; the boot server may write nowhere else,
                        and takes no lock for it (``pins``)
    .staging/           a release on its way in; for whoever holds .staging.lock, for as long as it takes
    .changing/          links on their way in, releases on their way out; for whoever holds .lock, as all
                        above, for a moment: nobody waits for a download to roll back

Reading takes no lock: whatever is killed when, ``current`` leads to a whole release. Whoever serves a release
holds it (``hold``), which keeps collection from removing it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

from ectools import log
from ectools.archive.names import MANIFEST_NAME
from ectools.errors import EcError, InputError
from ectools.files import FileError, hold_lock, open_regular, read_descriptor
from ectools.netboot.release.manifest import (
    ID_PATTERN,
    MAX_MANIFEST_BYTES,
    ManifestError,
    Release,
    System,
    parse_manifest,
)
from ectools.netboot.release.systems import read_kernel_architecture
from ectools.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_log = log.Log(__name__)

_TARGET = re.compile(rf"releases/({ID_PATTERN.pattern})")


LOCK_SECONDS = 300.0
"""How long a command waits for the store: the longest that is done under its lock reads a whole release."""


class StoreError(EcError):
    """The store is not as it should be; the message holds the path."""


class ReleaseGoneError(EcError):
    """There is no such release, or it is being removed right now."""


class ReleaseBusyError(EcError):
    """Another process has an exclusive lock on a release; the same may work in a moment."""


class ReleaseStore:
    """The releases below one state directory. Nothing is made before something is written."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.releases_dir = state_dir / "releases"
        self.staging_dir = state_dir / ".staging"
        self.changing_dir = state_dir / ".changing"
        self.pinned_dir = state_dir / "pinned"
        self.led_dir = state_dir / "fleet/led"
        self.stopped_dir = state_dir / "fleet/withdrawn"
        self.released_dir = state_dir / "released"
        self.withdrawn_dir = state_dir / "withdrawn"
        self.channels_dir = state_dir / "channels"

    def directory(self, release_id: str) -> Path:
        """The directory of a release's files, staged or not. Raises InputError for what is no id."""
        if not ID_PATTERN.fullmatch(release_id):
            raise InputError(f"{release_id!r} is no release's id", hint=self.suggest_id(release_id))
        return self.releases_dir / release_id

    def suggest_id(self, given: str) -> str:
        """A hint for an id that no release has: the one that begins so, or looks like it."""
        return did_you_mean(given, self.list_ids()) or "`ectools netboot releases list` shows them"

    def find_current(self) -> Release | None:
        """The release that is served; None before the first staging. Raises StoreError, ManifestError."""
        return self._find_link("current")

    def find_previous(self) -> Release | None:
        """The release that a rollback goes to; None where there is none. Raises StoreError, ManifestError."""
        return self._find_link("previous")

    def find(self, release_id: str) -> Release | None:
        """The release of that id; None where it is not staged. ManifestError: its record is bad."""
        descriptor = self.open_record(release_id)
        if descriptor is None:
            return None
        try:
            return self._read_record(descriptor, release_id)
        finally:
            os.close(descriptor)

    def open_record(self, release_id: str) -> int | None:
        """A descriptor of a release's record, which the caller closes; None where there is none.

        Raises FileError, also for whatever is no regular file: nobody waits for a fifo.
        """
        try:
            return open_regular(self.directory(release_id) / MANIFEST_NAME, follow=False)
        except FileError as error:
            if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
                return None
            raise

    def list_releases(self) -> list[Release]:
        """Every staged release, the newest first, of two of one second the smaller id; a bad one is left out.

        A warning names it.
        """
        found = []
        for release_id in self.list_ids():
            try:
                release = self.find(release_id)
            except EcError as error:
                _log.warning("a release cannot be used", reason=error.message)
                continue
            if release is not None:
                found.append(release)
        return sorted(found, key=lambda release: (-release.staged_at, release.id))

    def list_ids(self) -> list[str]:
        """The ids that have a directory, usable or not, in their own order."""
        return sorted(name for name in self._list_directory(self.releases_dir) if ID_PATTERN.fullmatch(name))

    def list_pinned(self) -> frozenset[str]:
        """The ids that are pinned, staged or not."""
        return self._list_marks(self.pinned_dir)

    def list_led(self) -> frozenset[str]:
        """The ids that rollouts need, staged or not."""
        return self._list_marks(self.led_dir)

    def list_withdrawn(self) -> frozenset[str]:
        """The ids that were rolled back from, by somebody or by a rollout, staged or not."""
        return self._list_marks(self.withdrawn_dir) | self._list_marks(self.stopped_dir)

    def list_timed(self) -> frozenset[str]:
        """The ids of which it is known when they were published."""
        return self._list_marks(self.released_dir)

    def find_link_id(self, name: str) -> str | None:
        """The id that the link ``current`` or ``previous`` leads to; None where there is no link."""
        link = self.state_dir / name
        try:
            target = str(link.readlink())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(
                f"{link}: cannot be read as a link: {error.strerror}",
                hint="ectools makes it; remove it to stage anew",
            ) from error
        matched = _TARGET.fullmatch(target)
        if matched is None:
            raise StoreError(
                f"{link}: leads to {target!r}, which is no release",
                hint="ectools makes it; remove it to stage anew",
            )
        return matched[1]

    @contextlib.contextmanager
    def hold(self, release_id: str) -> Iterator[Release]:
        """Keep collection from removing a release for the length of the block (a shared lock on its record).

        Any number may hold one; the kernel drops the lock with its holder. Never waits: raises
        ReleaseGoneError, ReleaseBusyError where somebody else has locked it, FileError, ManifestError.
        """
        path = self.directory(release_id) / MANIFEST_NAME
        gone = ReleaseGoneError(f"{path.parent}: this release is not there, or is being removed")
        descriptor = self.open_record(release_id)
        if descriptor is None:
            raise gone
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ReleaseBusyError(
                    f"{path}: another process has an exclusive lock on it",
                    hint=f"collecting releases takes it for a moment; `fuser -v {path}` says who has it",
                ) from error
            # Whoever removed it meanwhile held the lock while doing so: then this file has no name by now.
            if not _is_same_file(descriptor, path):
                raise gone
            yield self._read_record(descriptor, release_id)
        finally:
            os.close(descriptor)

    def require(self) -> None:
        """Raises StoreError where there is no state directory."""
        hint = "stateDir, or --state-dir, names it"
        try:
            status = self.state_dir.stat()
        except FileNotFoundError as error:
            raise StoreError(
                f"{self.state_dir}: there is no such directory: nothing was ever staged there", hint=hint
            ) from error
        except OSError as error:
            raise self.explain(error) from error
        if not stat.S_ISDIR(status.st_mode):
            raise StoreError(f"{self.state_dir}: is no directory", hint=hint)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """The right to change the store, for the length of the block; waits LOCK_SECONDS for whoever has it.

        Raises StoreError where there is no store, LockedError, StoreError for every OSError of the block.
        """
        self.require()
        with self._hold(self.changing_dir, lock=".lock", wait_seconds=LOCK_SECONDS):
            yield

    @contextlib.contextmanager
    def lock_staging(self) -> Iterator[Path]:
        """The one staging at a time, for the length of the block: a directory that is empty before and after.

        Raises LockedError at once where somebody else has it, StoreError for every OSError of the block.
        """
        try:
            self.state_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
        except OSError as error:
            raise self.explain(error) from error
        with self._hold(self.staging_dir, lock=".staging.lock", wait_seconds=0):
            clear_directory(self.staging_dir)
            try:
                yield self.staging_dir
            finally:
                clear_directory(self.staging_dir)

    @contextlib.contextmanager
    def _hold(self, directory: Path, *, lock: str, wait_seconds: float) -> Iterator[None]:
        what = f"the store {self.state_dir}"
        try:
            directory.mkdir(mode=0o700, exist_ok=True)
            if directory.is_symlink():
                # Whoever holds the lock removes all that is in it.
                raise NotADirectoryError(errno.ENOTDIR, "is a link", str(directory))
            with hold_lock(self.state_dir / lock, what=what, wait_seconds=wait_seconds):
                yield
        except OSError as error:
            raise self.explain(error) from error

    def explain(self, error: OSError) -> StoreError:
        """What went wrong in the store, and what to do about it."""
        match error.errno:
            case errno.ENOSPC | errno.EDQUOT:
                advice = "`ectools netboot releases collect` makes room"
            case errno.EEXIST | errno.ENOTDIR:
                advice = "a directory was expected there"
            case _:
                advice = "this user must be able to write there"
        return StoreError(
            f"{error.filename or self.state_dir}: {error.strerror or error}",
            hint=f"what is current stays so; {advice}",
        )

    def _read_record(self, descriptor: int, release_id: str) -> Release:
        path = self.directory(release_id) / MANIFEST_NAME
        data = read_descriptor(descriptor, path, limit=MAX_MANIFEST_BYTES)
        release = parse_manifest(data, where=str(path))
        if release.id != release_id:
            raise ManifestError(f"{path}: id: {release.id} stands in the directory of another")
        systems = tuple(
            each if each.architecture is not None else self._find_architecture(each, path.parent)
            for each in release.systems
        )
        return replace(release, systems=systems)

    def _find_architecture(self, system: System, directory: Path) -> System:
        """What an older program has not written down is read from the kernel, where that is still there."""
        return replace(system, architecture=read_kernel_architecture(directory / system.boot.kernel))

    def _find_link(self, name: str) -> Release | None:
        release_id = self.find_link_id(name)
        if release_id is None:
            return None
        release = self.find(release_id)
        if release is None:
            raise StoreError(
                f"{self.state_dir / name}: leads to {release_id}, which is not there",
                hint="stage a release; somebody removed that directory by hand",
            )
        return release

    def _list_marks(self, directory: Path) -> frozenset[str]:
        return frozenset(name for name in self._list_directory(directory) if ID_PATTERN.fullmatch(name))

    def _list_directory(self, directory: Path) -> list[str]:
        try:
            return [entry.name for entry in directory.iterdir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise FileError(f"{directory}: cannot be read: {error.strerror}") from error


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except (FileNotFoundError, NotADirectoryError):
        return False


def clear_directory(directory: Path) -> None:
    """Remove all that is in a directory. Raises OSError."""
    for left in directory.iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        else:
            left.unlink()
