"""What the store has of a fleet, as it was heard of last: the nodes that were added, what is said of nodes
for a while, and at which revision each of it stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.netboot.fleet.added import AddedNode, parse_added
from ectools.netboot.fleet.override import NodeOverride, parse_override
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
        self._revisions: dict[str, int] = {}
        self._unreadable = UnreadableLog()

    def get_revision(self, key: str) -> int:
        """The revision of a key; 0: it is not there."""
        return self._revisions.get(key, 0)

    def list_keys(self, prefix: str) -> list[str]:
        """The keys below ``prefix`` that are there."""
        return [key for key in self._revisions if key.startswith(prefix)]

    def adopt(self, key: str, entry: StateEntry | None) -> bool:
        """Whether a key stands otherwise than was known; None: it is not there. Then that is taken over."""
        revision = 0 if entry is None else entry.revision
        if self.get_revision(key) == revision:
            return False
        if key.startswith(ADDED_NODES):
            name = key.removeprefix(ADDED_NODES)
            self.put_added(name, None if entry is None else self._parse_added(name, entry), revision)
        else:
            name = key.removeprefix(OVERRIDES)
            override = NodeOverride() if entry is None else self._parse_override(name, entry)
            self.put_override(name, override, revision)
        return True

    def put_added(self, name: str, added: AddedNode | None, revision: int) -> None:
        """A node was added, or None: was taken away."""
        if added is None:
            self.added.pop(name, None)
        else:
            self.added[name] = added
        self._note_revision(ADDED_NODES + name, revision)

    def put_override(self, name: str, override: NodeOverride, revision: int) -> None:
        """This is said of a node from now on."""
        if override.is_empty:
            self.overrides.pop(name, None)
        else:
            self.overrides[name] = override
        self._note_revision(OVERRIDES + name, revision)

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

    def _note_revision(self, key: str, revision: int) -> None:
        if revision:
            self._revisions[key] = revision
        else:
            self._revisions.pop(key, None)
