"""Staged releases by the tags that they were published under, and the channels that lead to them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ectools.archive.names import MANIFEST_NAME
from ectools.errors import EcError
from ectools.netboot.fleet.model import CHANNEL_PREFIX
from ectools.netboot.release.channels import find_followed
from ectools.netboot.release.manifest import ID_PATTERN

if TYPE_CHECKING:
    from ectools.netboot.release.store import ReleaseStore

_Stamp = tuple[int, int]


class ReleaseTags:
    """The tags of one store's releases. Any thread may ask."""

    def __init__(self, store: ReleaseStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._known: dict[str, tuple[_Stamp, str | None, int]] = {}

    def find_id(self, wanted: str) -> str | None:
        """The id of the staged release that ``wanted`` names: an id, a tag, of which it is the newest, or
        ``channel:NAME``.

        None where none is staged, or its record cannot be read. Raises FileError where the store cannot be.
        """
        if ID_PATTERN.fullmatch(wanted):
            return wanted if self._find_stamp(wanted) is not None else None
        if wanted.startswith(CHANNEL_PREFIX):
            found = find_followed(self._store, wanted.removeprefix(CHANNEL_PREFIX))
            return found if found is not None and self._find_stamp(found) is not None else None
        with self._lock:
            self._refresh()
            tagged = [(at, release_id) for release_id, (_, tag, at) in self._known.items() if tag == wanted]
        return max(tagged)[1] if tagged else None

    def _refresh(self) -> None:
        found: dict[str, tuple[_Stamp, str | None, int]] = {}
        for release_id in self._store.list_ids():
            stamp = self._find_stamp(release_id)
            known = self._known.get(release_id)
            if stamp is None:
                continue
            if known is not None and known[0] == stamp:
                found[release_id] = known
                continue
            try:
                release = self._store.find(release_id)
            except EcError:
                continue  # what cannot be used is told where somebody wants it
            if release is not None:
                found[release_id] = (stamp, release.tag, release.staged_at)
        self._known = found

    def _find_stamp(self, release_id: str) -> _Stamp | None:
        try:
            status = (self._store.directory(release_id) / MANIFEST_NAME).stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns
