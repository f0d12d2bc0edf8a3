"""Who has a connection's slot, and who makes room for whom: max-min fairness between addresses. Pure.

There are ``capacity`` slots. While some are free, everybody gets one. When none is, a newcomer gets that

1. of the address that holds the most, where that is at least two more than the newcomer's address holds: so
   an address's share grows while others are not in need, and shrinks to an equal one when they are;
2. else of a connection of its own address that is at rest (nothing is being sent to it) or slow;
3. else, where its address holds none at all, of any other's that is.

Of one address those at rest make room first, the one that has rested longest before the others, then slow
downloads, then what came last. All of it takes the same time however many connections there are: to turn a
crowd away must be cheap.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Generic, TypeVar

C = TypeVar("C")

_IPV6_SHARE = ~0 << 64
_MAPPED = "::ffff:"


def share_of(ip: str) -> str:
    """What a client's address counts as: an IPv4 address as itself, an IPv6 address as its /64.

    An IPv6 host may use all addresses of its /64 (RFC 7934, section 6).
    """
    if ip.startswith(_MAPPED):
        return ip.removeprefix(_MAPPED)
    if ":" not in ip:
        return ip
    try:
        number = int(ipaddress.IPv6Address(ip))
    except ValueError:
        return ip
    return f"{ipaddress.IPv6Address(number & _IPV6_SHARE)}/64"


class Use(Enum):
    """What a connection does with its slot, in the order in which they make room."""

    REST = auto()
    SLOW = auto()
    WORK = auto()


_YIELDING = (Use.REST, Use.SLOW)


@dataclass(eq=False)
class _Share(Generic[C]):
    """The connections of one address, by what they do, each in the order in which they began to."""

    by_use: dict[Use, OrderedDict[C, None]] = field(
        default_factory=lambda: {use: OrderedDict() for use in Use}
    )
    count: int = 0


class Slots(Generic[C]):
    """The slots of one server. A connection is any hashable."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._uses: dict[C, tuple[str | None, Use]] = {}
        self._shares: dict[str, _Share[C]] = {}
        # How many addresses hold how many: the shares of one size, and the largest size that there is.
        self._by_count: dict[int, OrderedDict[str, None]] = {}
        self._most = 0
        # Of all addresses, by what they do; a trusted proxy's are in none, because they never make room.
        self._yielding: dict[Use, OrderedDict[C, None]] = {use: OrderedDict() for use in _YIELDING}

    def __len__(self) -> int:
        return len(self._uses)

    def __contains__(self, connection: C) -> bool:
        return connection in self._uses

    @property
    def short(self) -> bool:
        """Whether hardly any is free: one in eight, or less."""
        return len(self._uses) * 8 >= self.capacity * 7

    def held_by(self, share: str) -> int:
        """How many slots the connections of ``share`` have."""
        found = self._shares.get(share)
        return 0 if found is None else found.count

    def find_room(self, share: str | None) -> tuple[bool, C | None]:
        """Whether a newcomer of ``share`` may have a slot, and whose: None for a free one.

        ``share`` None is a trusted proxy's: it speaks for many, and is never the one to make room.
        """
        if len(self._uses) < self.capacity:
            return True, None
        held = 0 if share is None else self.held_by(share)
        if self._most >= held + 2:
            heaviest = next(iter(self._by_count[self._most]))
            return True, _first_to_go(self._shares[heaviest])
        by_use = self._shares[share].by_use if share is not None and held else self._yielding
        for use in _YIELDING:
            if by_use[use]:
                return True, next(iter(by_use[use]))
        return False, None

    def add(self, connection: C, share: str | None) -> None:
        """Give it a slot; it is at rest. ``share`` None: a trusted proxy's."""
        self._uses[connection] = (share, Use.REST)
        self._place(connection, share, Use.REST)
        if share is not None:
            self._count(share, 1)

    def remove(self, connection: C) -> None:
        """Take its slot back; without one nothing happens."""
        found = self._uses.pop(connection, None)
        if found is None:
            return
        share, use = found
        self._unplace(connection, share, use)
        if share is not None:
            self._count(share, -1)

    def find_use(self, connection: C) -> Use:
        """What a connection that has a slot does."""
        return self._uses[connection][1]

    def use(self, connection: C, use: Use) -> None:
        """What a connection does from now on; without a slot nothing happens."""
        found = self._uses.get(connection)
        if found is None or found[1] is use:
            return
        share, before = found
        self._unplace(connection, share, before)
        self._uses[connection] = (share, use)
        self._place(connection, share, use)

    def _place(self, connection: C, share: str | None, use: Use) -> None:
        if share is None:
            return
        if use in self._yielding:
            self._yielding[use][connection] = None
        found = self._shares.get(share)
        if found is None:
            found = self._shares[share] = _Share()
        found.by_use[use][connection] = None

    def _unplace(self, connection: C, share: str | None, use: Use) -> None:
        if share is None:
            return
        if use in self._yielding:
            del self._yielding[use][connection]
        del self._shares[share].by_use[use][connection]

    def _count(self, share: str, step: int) -> None:
        found = self._shares[share]
        if found.count:
            level = self._by_count[found.count]
            del level[share]
            if not level:
                del self._by_count[found.count]
        found.count += step
        if found.count:
            self._by_count.setdefault(found.count, OrderedDict())[share] = None
        else:
            del self._shares[share]
        # A step is one: so the largest is the old one, or one beside it.
        self._most = max(self._most, found.count)
        if self._most not in self._by_count:
            self._most -= 1


def _first_to_go(share: _Share[C]) -> C:
    for use in _YIELDING:
        if share.by_use[use]:
            return next(iter(share.by_use[use]))
    return next(reversed(share.by_use[Use.WORK]))
