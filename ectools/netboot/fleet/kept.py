"""What the store has of a fleet, as it was heard of last: the nodes that were added, what is said of nodes
for a while, and as what each of it is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.netboot.fleet.added import AddedNode, parse_added
from ectools.netboot.fleet.override import NodeOverride, parse_override
from ectools.netboot.state.known import KnownEntries
from ectools.netboot.state.unreadable import UnreadableLog

if TYPE_CHECKING:
    from ectools.netboot.state.interface import StateEntry

OVERRIDES = "overrides/"
ADDED_NODES = "nodes/"
"""What the keys of the store begin with; a node's name is the rest."""


class KeptFleet:
    """``added``: name → node; ``overrides``: name → what is said of it, where anything is."""

    def __init__(self) -> None:
        self.added: dict[str, AddedNode] = {}
        self.overrides: dict[str, NodeOverride] = {}
        self._known = KnownEntries()
        self._unreadable = UnreadableLog()

    def get_revision(self, key: str) -> int:
        """As ``KnownEntries.get_revision``."""
        return self._known.get_revision(key)

    def list_keys(self, prefix: str) -> list[str]:
        """The keys below ``prefix`` that are there."""
        return self._known.list_keys(prefix)

    def adopt(self, key: str, entry: StateEntry | None) -> bool:
        """Whether a key stands otherwise than was known; None: it is not there. Then that is taken over."""
        if self._known.is_known(key, entry):
            return False
        if key.startswith(ADDED_NODES):
            name = key.removeprefix(ADDED_NODES)
            self._set_added(name, None if entry is None else self._parse_added(name, entry))
        else:
            name = key.removeprefix(OVERRIDES)
            self.impose(name, NodeOverride() if entry is None else self._parse_override(name, entry))
        self._known.note(key, entry)
        return True

    def put_added(self, name: str, added: AddedNode | None, revision: int | None) -> None:
        """A node was added, and written at that revision, or was taken away: both are None."""
        self._set_added(name, added)
        self._known.note_written(ADDED_NODES + name, revision)

    def put_override(self, name: str, override: NodeOverride, revision: int | None) -> None:
        """This is said of a node from now on, and was written at that revision; None: nothing stands there
        any more.
        """
        self.impose(name, override)
        self._known.note_written(OVERRIDES + name, revision)

    def impose(self, name: str, override: NodeOverride) -> None:
        """This is said of a node from now on, whatever the store has."""
        if override.is_empty:
            self.overrides.pop(name, None)
        else:
            self.overrides[name] = override

    def _set_added(self, name: str, added: AddedNode | None) -> None:
        if added is None:
            self.added.pop(name, None)
        else:
            self.added[name] = added

    def _parse_added(self, name: str, entry: StateEntry) -> AddedNode | None:
        """What cannot be read is as it was: a machine that had a name is no stranger for that."""
        try:
            return parse_added(name, entry.value)
        except ValueError as error:
            self._unreadable.tell(entry.key, error)
            return self.added.get(name)

    def _parse_override(self, name: str, entry: StateEntry) -> NodeOverride:
        problems: list[str] = []
        known = self.overrides.get(name)
        override = parse_override(entry.value, problems, changed=entry.changed, known=known)
        if problems:
            self._unreadable.tell(entry.key, "; ".join(problems))
        return override
