"""Admission of connections: a slot for those who have a right to one, else a place in the lobby.

Decided where a connection is accepted, before a byte of it is read. The *lobby* has few places and little
time: what asks from there is answered 503, or 403 where its network is not served, and ``/healthz`` as ever.
Where the lobby is full too, or one address has its share of it, the connection is closed at once. Every kind
of loss is counted, and logged at most once in ten seconds, with its number.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, replace
from enum import Enum, StrEnum, auto
from typing import TYPE_CHECKING, Protocol

from ectools import log
from ectools.netboot.http.slots import Slots, Use, share_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_log = log.Log(__name__)

LOBBY_CONNECTIONS = 192
"""So many are accepted above ``max_connections``, and answered why they are not served."""
LOBBY_CONNECTIONS_PER_ADDRESS = 8
_REPORT_SECONDS = 10.0
# A newcomer does not put out what its own address began just before: else a crowd that comes again and
# again would have the server do nothing but take it in.
_UNDISTURBED_SECONDS = 5.0
# And all of a crowd comes to that age together.
_OWN_SECONDS = 0.01
_MAX_REPORTED_ADDRESSES = 1024


class Standing(Enum):
    """What is known of an address before it says anything."""

    CLIENT = auto()
    PROXY = auto()  # trusted to speak for others: it has no share, because it has the shares of many
    STRANGER = auto()  # of a network that is not served


class Loss(StrEnum):
    """Why a client was turned away, or a connection ended before its time; the value is what people read."""

    OVERLOAD = "all connections are taken"
    STRANGER = "not of an allowed network"
    RESTING = "a resting connection made room"
    SLOW = "a slow download made room"
    SHARE = "an address above its share made room"


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """Where a connection goes, a slot or the lobby (``room``), and as whose.

    ``share`` None: a trusted proxy's.
    """

    room: Slots[Occupant]
    share: str | None
    standing: Standing


_LOSS_BY_USE = {Use.REST: Loss.RESTING, Use.SLOW: Loss.SLOW, Use.WORK: Loss.SHARE}


class Occupant(Protocol):
    """A connection, as admission sees it. ``since`` is the time at which it came to what it does."""

    since: float

    def make_room(self, loss: Loss) -> None:
        """End, for another's sake."""
        ...


class Admission:
    """Slots, lobby and counts of one server. ``classify`` is asked for each client's address.

    ``clock`` gives seconds that only grow.
    """

    def __init__(
        self,
        capacity: int,
        *,
        classify: Callable[[str], Standing] = lambda _: Standing.CLIENT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._classify = classify
        self._clock = clock
        self.slots: Slots[Occupant] = Slots(capacity)
        self.lobby: Slots[Occupant] = Slots(LOBBY_CONNECTIONS)
        self.losses: Counter[Loss] = Counter()
        """How often since the start."""
        self.accepted = 0
        self._own: set[tuple[str, int]] = set()
        self._held_slots: dict[Occupant, Slot] = {}
        self._unreported: dict[Loss, Counter[str]] = {}
        self._reported = self._gave_way_to_its_own = float("-inf")

    def __len__(self) -> int:
        return len(self.slots) + len(self.lobby)

    def expect_own(self, address: tuple[str, int]) -> None:
        """A connection from this address and port is the server's own, to see whether it answers."""
        self._own.add(address)

    def forget_own(self, address: tuple[str, int]) -> None:
        """Undo ``expect_own``: the connection was made, or given up."""
        self._own.discard(address)

    def find_slot(self, ip: str, port: int) -> Slot | None:
        """Where a connection that was just accepted goes; None: nowhere, it is to be closed.

        A connection that has to make room for it has been ended by then.
        """
        self.accepted += 1
        if self._own and (ip, port) in self._own:
            return Slot(room=self.lobby, share=None, standing=Standing.PROXY)
        standing = self._classify(ip)
        share = None if standing is Standing.PROXY else share_of(ip)
        if standing is not Standing.STRANGER and self._make_room(self.slots, share):
            return Slot(room=self.slots, share=share, standing=standing)
        self._lose(Loss.STRANGER if standing is Standing.STRANGER else Loss.OVERLOAD, share)
        if share is not None and self.lobby.held_by(share) >= LOBBY_CONNECTIONS_PER_ADDRESS:
            return None
        if self._make_room(self.lobby, share):
            return Slot(room=self.lobby, share=share, standing=standing)
        return None

    def enter(self, connection: Occupant, slot: Slot) -> None:
        """Record that ``connection`` occupies ``slot``."""
        self._held_slots[connection] = slot
        slot.room.add(connection, slot.share)

    def leave(self, connection: Occupant) -> None:
        """Free what ``connection`` occupies, when it ends or is about to. Again, it has no effect."""
        self._held_slots.pop(connection, None)
        self.slots.remove(connection)
        self.lobby.remove(connection)

    def is_served(self, connection: Occupant) -> bool:
        """Whether its request may be answered: it has a slot, or gets one that has become free meanwhile.

        Not by making room: who is in the lobby was weighed a moment ago.
        """
        if connection in self.slots:
            return True
        slot = self._held_slots.get(connection)
        if slot is None or slot.standing is Standing.STRANGER:
            return False
        if len(self.slots) >= self.slots.capacity:
            return False
        use = self.lobby.find_use(connection)
        self.leave(connection)
        self.enter(connection, replace(slot, room=self.slots))
        self.slots.use(connection, use)
        return True

    def use(self, connection: Occupant, use: Use) -> None:
        """Record what ``connection`` does from now on."""
        self.slots.use(connection, use)
        self.lobby.use(connection, use)

    def report(self) -> None:
        """Log who was turned away since the last report, unless that was less than ten seconds ago."""
        now = self._clock()
        if not self._unreported or now - self._reported < _REPORT_SECONDS:
            return
        self._reported = now
        for loss, addresses in self._unreported.items():
            ((address, most),) = addresses.most_common(1)
            _log.warning(
                "clients are turned away",
                reason=loss,
                count=addresses.total(),
                addresses=len(addresses),
                most_from=address,
                of_these=most,
                connections=len(self.slots),
                max_connections=self.slots.capacity,
            )
        self._unreported = {}

    def describe(self) -> Mapping[str, int]:
        """The numbers of ``losses`` by their names, for the health report and the metrics."""
        return {loss.name.lower(): self.losses[loss] for loss in Loss}

    def _make_room(self, into: Slots[Occupant], share: str | None) -> bool:
        room, victim = into.find_room(share)
        if victim is None:
            return room
        theirs = self._held_slots[victim].share
        own = share is not None and theirs == share
        now = self._clock()
        if own:
            if now - victim.since < _UNDISTURBED_SECONDS or now - self._gave_way_to_its_own < _OWN_SECONDS:
                return False
            self._gave_way_to_its_own = now
        loss = _LOSS_BY_USE[into.find_use(victim)]
        if into is self.slots:  # who leaves the lobby was counted when it came there
            self._lose(loss, theirs)
        self.leave(victim)
        victim.make_room(loss)
        return True

    def _lose(self, loss: Loss, share: str | None) -> None:
        self.losses[loss] += 1
        address = share or "a trusted proxy"
        unreported = self._unreported.setdefault(loss, Counter())
        if address not in unreported and len(unreported) >= _MAX_REPORTED_ADDRESSES:
            address = "others"
        unreported[address] += 1
