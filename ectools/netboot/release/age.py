"""How old a release is, as its publisher signed it; and that a forge cannot lead a boot host back in time.

Whoever controls a forge, or what stands before it, cannot sign; but it can offer an old release, with faults
that are known by now, as the latest one. Its signature is right for ever. So the signed sums carry a time
(ECP-0090), which is kept for what is staged, in ``released/<id>``.
"""

from __future__ import annotations

import contextlib
import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ectools import log
from ectools.errors import EcError
from ectools.files import FileError, read_regular, sync_directory, write_atomic
from ectools.netboot.release.store import StoreError

if TYPE_CHECKING:
    from ectools.netboot.release.source import ReleaseSource
    from ectools.netboot.release.store import ReleaseStore

_log = log.Log(__name__)

_MAX_BYTES = 32


class OlderReleaseError(EcError):
    """A release is older than the one that is current, or may be."""


def check_age(store: ReleaseStore, source: ReleaseSource) -> None:
    """Raises OlderReleaseError where ``source``, which nobody named, is signed as older than what is current.

    So it does for one without a signed time where what is current has one: it may be of any age.
    """
    if not source.is_signed:
        return
    current = store.find_link_id("current")
    known = None if current is None else find_time(store, current)
    if known is None or current is None:
        if source.released_at is None:
            _log.warning("the signed sums carry no time: an older release cannot be told from a newer one")
        return
    if source.released_at is not None and source.released_at >= known:
        return
    title = current
    with contextlib.suppress(EcError):
        release = store.find(current)
        if release is not None:
            title = release.title
            if sorted(each.archive_sha256 for each in release.systems) == source.wanted_sums:
                return
    if source.released_at is None:
        age = "without a time"
        advice = "its publisher can sign the sums with one (`ectools netboot pack --timestamp`, ECP-0090)"
    else:
        age = f"as of {_show(source.released_at)}"
        advice = "does the forge offer an old release as its latest?"
    named = "by its tag" if source.tag is None else f"by `--tag {shlex.quote(source.tag)}` or release.tag"
    raise OlderReleaseError(
        f"{source.archives[0].archive.source}: is signed {age}, and what is current, {title}, as of "
        f"{_show(known)}: "
        "an older release is not staged unless it is asked for by name",
        hint=f"{advice}; {named}, or by --tarball, it is staged all the same",
    )


def find_time(store: ReleaseStore, release_id: str) -> int | None:
    """When a release was published, as it was signed, in seconds since 1970; None where that is not known."""
    path = store.released_dir / release_id
    try:
        text = read_regular(path, limit=_MAX_BYTES, follow=False).strip()
    except FileError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise
    if not (text.isdigit() and text.isascii()):
        raise StoreError(f"{path}: holds no number of seconds", hint="ectools makes it; remove it")
    return int(text)


def note_time(store: ReleaseStore, release_id: str, seconds: int) -> None:
    """Keep when a release was published; the same content may be published again, later.

    Only under the lock. Raises OSError, FileError, StoreError.
    """
    known = find_time(store, release_id)
    if known is not None and known >= seconds:
        return
    if not store.released_dir.is_dir():
        store.released_dir.mkdir(mode=0o755)
        sync_directory(store.state_dir)
    write_atomic(store.released_dir / release_id, f"{seconds}\n".encode())


def forget_times(store: ReleaseStore) -> None:
    """Those of releases that are not there any more. Only under the lock. Raises OSError, FileError."""
    staged = set(store.list_ids())
    for name in store.list_timed() - staged:
        (store.released_dir / name).unlink(missing_ok=True)


def _show(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
