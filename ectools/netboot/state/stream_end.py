"""What servers have lost of a stream's end: how a host sees it, and how the others hear of it.

A message has a number, and the time at which its server took it. What comes after a loss has numbers that
were given before, and a later time. A bucket that has lost its end is called by another name from then on,
which has where that was, once for each loss: ``origin-token.end-token.end``.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ectools.netboot.state.decode import MAX_INTEGER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

MAX_LOSSES = 8
"""Those that a name has; the oldest become one, with the lowest end of them."""
# Of one message, as two ways of asking for it tell its time.
_SAME_SECONDS = 0.001


@dataclass(frozen=True, kw_only=True, slots=True)
class CommonEnd:
    """``sequence``: the last message that is there of those that a host has heard. ``following``: the first
    one that has come where it had heard another; None: there is none.
    """

    sequence: int
    following: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class LostEnd:
    """What a host has seen of a loss: what there is of the entries that it had heard ends ``after`` that
    sequence. Between it and ``end`` is what others may have changed since they heard it, and is theirs.
    """

    after: int
    end: int


async def find_common(
    find_next: Callable[[int], Awaitable[tuple[int, float] | None]], *, sequence: int, at: float
) -> CommonEnd | None:
    """What there is of a stream that was heard up to ``sequence``, all of it taken until ``at``; None: it
    was not heard. ``find_next`` gives the first message from a sequence on, and its time; None: no message.
    """
    if not sequence or not at:
        return None

    async def find_heard(start: int) -> int | None:
        found = await find_next(start)
        is_heard = found is not None and found[0] <= sequence and found[1] <= at + _SAME_SECONDS
        return found[0] if found is not None and is_heard else None

    # Most often it is the last one: from there ever further down, and then halves of the rest.
    low, high, step = 0, sequence + 1, 1
    while high > 1 and not low:
        start = max(high - step, 1)
        low = await find_heard(start) or 0
        high, step = (high if low else start), 2 * step
    while high - low > 1:
        middle = (low + high) // 2
        heard = await find_heard(middle)
        low, high = (low, middle) if heard is None else (heard, high)
    following = None if low == sequence else await find_next(low + 1)
    is_other = following is not None and following[0] <= sequence
    return CommonEnd(sequence=low, following=following[0] if following is not None and is_other else None)


def name_after_loss(before: str, end: int) -> str:
    """The name of a bucket that was ``before``, and has lost all behind ``end``."""
    origin, losses = _read_name(before)
    losses = [*losses, (secrets.token_hex(8), end)]
    while len(losses) > MAX_LOSSES:
        (_, first), (token, second) = losses[:2]
        losses[:2] = [(token, min(first, second))]
    return "-".join([origin, *(f"{token}.{each}" for token, each in losses)])


def find_lasting(before: str, now: str) -> int | None:
    """The last sequence of a bucket that was ``before`` that has not been lost since; None: there is none, it
    is another bucket. ``now`` may be anything that somebody has written there.
    """
    origin, losses = _read_name(now)
    if not losses or origin != _read_name(before)[0]:
        return None
    heard = before.rpartition("-")[2].partition(".")[0]
    tokens = [token for token, _ in losses]
    later = losses[tokens.index(heard) + 1 :] if heard in tokens else losses
    return min((end for _, end in later), default=None)


def _read_name(name: str) -> tuple[str, Sequence[tuple[str, int]]]:
    """Origin and losses, without what is none."""
    origin, *rest = name.split("-")
    parts = [each.partition(".") for each in rest]
    return origin, [
        (token, int(end))
        for token, _, end in parts
        if token and end.isascii() and end.isdecimal() and int(end[:20]) <= MAX_INTEGER
    ]
