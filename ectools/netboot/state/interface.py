"""The store of what a boot server remembers, as the program sees it: eight calls, whatever keeps it.

Shaped so that one host's database and a key-value store of several hosts fit alike (NATS JetStream KV:
revisions, watches, no transactions over several keys). A value is JSON of at most ``MAX_VALUE_BYTES``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ectools.errors import EcError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

MAX_VALUE_BYTES = 256 << 10
"""Of one entry or event, encoded."""
MAX_EVENTS = 100_000
"""Events that are remembered, the newest, whatever their age."""
MAX_KEY_LENGTH = 512
"""Characters of a key: words of letters, digits, ``.``, ``_`` and ``-``, joined by ``/``."""


class StateError(EcError):
    """The store cannot be read or written; the message says which and why. What was acknowledged is kept."""


class StateUnreachableError(StateError):
    """What is shared with other hosts cannot be reached: it is neither read nor changed by comparing."""


class StateConflictError(StateError):
    """An entry is not at the revision that was expected: somebody else has changed it meanwhile."""


@dataclass(frozen=True, kw_only=True)
class StateEntry:
    """The value of a key. ``revision`` grows with each change of any key; ``changed``: Unix seconds."""

    key: str
    value: Mapping[str, Any]
    revision: int
    changed: float


@dataclass(frozen=True, kw_only=True)
class StateDeletion:
    """A key that there is none of any more. What stands there by now is told after it."""

    key: str


@dataclass(frozen=True, kw_only=True)
class StateEvent:
    """Something that happened, which is never changed. ``sequence`` grows; ``at``: Unix seconds.

    ``kind`` is a word (``boot-failed``), ``subject`` a node's or a group's name, ``by`` who did it: a user of
    the host, or None where the program did.
    """

    sequence: int
    at: float
    kind: str
    subject: str
    by: str | None
    data: Mapping[str, Any]


class StateStore(Protocol):
    """Entries by key, and a log of events. What a call has returned from is kept, whatever happens."""

    async def get(self, key: str, *, fresh: bool = False) -> StateEntry | None:
        """The entry, None where there is none. Raises StateError.

        ``fresh``: as it stands for all who share the store, and not as it was last heard of here.
        """
        ...

    async def put(self, key: str, value: Mapping[str, Any], *, expected: int | None = None) -> int:
        """The new revision. ``expected``: the revision that it replaces, 0 for a key that is not there, None
        for whatever is there. Raises StateConflictError, and StateError.
        """
        ...

    async def delete(self, key: str, *, expected: int | None = None) -> None:
        """As ``put``; a key that is not there is none to delete. Raises StateConflictError, StateError."""
        ...

    async def list(self, prefix: str) -> Sequence[StateEntry]:
        """The entries whose keys begin with ``prefix``, by key. Raises StateError."""
        ...

    def watch(self, prefix: str) -> AsyncIterator[StateEntry | StateDeletion | None]:
        """Each entry of ``prefix`` as it is changed from now on, and each key that is deleted; None where
        some were missed: the reader lists anew.
        """
        ...

    async def append(
        self, kind: str, *, subject: str, by: str | None = None, data: Mapping[str, Any] | None = None
    ) -> StateEvent:
        """The event, once it is kept; the oldest make room for it. Raises StateError."""
        ...

    async def events(self, *, after: int = 0, limit: int = 1000) -> Sequence[StateEvent]:
        """At most ``limit`` events whose sequence is above ``after``, oldest first. Raises StateError.

        Sequences are given one after the other, and never again: where some are missing, those were pruned.
        """
        ...

    async def prune(self, prefix: str, *, before: float) -> int:
        """How many entries of ``prefix``, or events where it is empty, were last changed before that time
        (Unix seconds), and are gone now. Raises StateError.
        """
        ...
