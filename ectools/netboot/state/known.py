"""What a reader of a store has taken over of its keys, to tell what stands there otherwise by now.

A revision alone does not tell it. What a host has written while it reached nobody has the revision of what
the others have, 0 where that is nothing, and may give way to it later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ectools.netboot.state.interface import StateEntry


class KnownEntries:
    """The keys of which an entry was taken over, or written."""

    def __init__(self) -> None:
        # Key → its revision and when it was changed; None: what was written here has that revision.
        self._known: dict[str, tuple[int, float | None]] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def get_revision(self, key: str) -> int:
        """The revision upon which a key is changed; 0: it is not there, or nobody else has it as yet."""
        return self._known[key][0] if key in self._known else 0

    def list_keys(self, prefix: str) -> list[str]:
        """The keys that begin with ``prefix``."""
        return [key for key in self._known if key.startswith(prefix)]

    def is_known(self, key: str, entry: StateEntry | None) -> bool:
        """Whether this is what a key was known as; None: there is none."""
        if entry is None or key not in self._known:
            return entry is None and key not in self._known
        revision, changed = self._known[key]
        return entry.revision == revision and changed in (None, entry.changed)

    def note(self, key: str, entry: StateEntry | None) -> None:
        """This was taken over; None: there is none."""
        if entry is None:
            self._known.pop(key, None)
        else:
            self._known[key] = entry.revision, entry.changed

    def note_written(self, key: str, revision: int | None) -> None:
        """It was written at that revision; None: it was taken away."""
        if revision is None:
            self._known.pop(key, None)
        else:
            self._known[key] = revision, None
