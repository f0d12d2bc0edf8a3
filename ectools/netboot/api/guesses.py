"""What keeps an access token from being guessed, and locks out nobody who has it.

Behind one address there may be many, and one of them may send wrong tokens for ever. So a right one is taken
all the same, unless they keep all of the address's connections too. What an address has that sends wrong ones
is a place in a queue: one after the other is looked at, ten a second of all such addresses together, and
there are no more in it than there are connections. Whoever has sent no wrong one waits for nobody.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import TYPE_CHECKING

from ectools.errors import EcError
from ectools.netboot.api.connections import BoundedProtocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aiohttp import web

TRIES_SECONDS = 60.0
GUESS_SECONDS = 0.1
"""From one look at a token of those who have sent wrong ones to the next."""
_TRIES = 10
_TRIES_OF_ALL = 100
_MAX_SHARES = 4096


class TooManyTriesError(EcError):
    """Wrong tokens came too often; ``seconds``: after which to come again."""

    def __init__(self, message: str, *, seconds: int) -> None:
        super().__init__(message)
        self.seconds = seconds


class WrongTries:
    """The wrong tokens of the last minute, by their senders' shares of an address.

    Where all together have sent many, one wrong token spends what a share has. ``clock`` gives Unix seconds;
    what is of a time to come was noted before that was set back, and counts no more.
    """

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        # Share → the times of its wrong ones; the one that sent the last stands last.
        self._by_share: OrderedDict[str, list[float]] = OrderedDict()
        self._of_all: deque[float] = deque(maxlen=_TRIES_OF_ALL)

    def is_spent(self, share: str) -> bool:
        """Whether what comes from there has to wait for its turn (``LookTurns``)."""
        return len(self._list_recent(self._by_share.get(share, ()))) >= (1 if self._are_many() else _TRIES)

    def note(self, share: str) -> bool:
        """A wrong one was sent; whether that is worth a line in the log, of which there are not many."""
        now, is_told = self._clock(), not self._are_many()
        own = self._list_recent(self._by_share.pop(share, ()))
        self._by_share[share] = [*own, now]
        if len(self._by_share) > _MAX_SHARES:
            self._by_share.popitem(last=False)
        self._of_all.append(now)
        return is_told

    def _are_many(self) -> bool:
        return len(self._list_recent(self._of_all)) == _TRIES_OF_ALL

    def _list_recent(self, times: Iterable[float]) -> list[float]:
        now = self._clock()
        return [at for at in times if now - TRIES_SECONDS < at <= now]


class LookTurns:
    """The queue of those who have sent wrong tokens, in the order in which they came."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self._last = float("-inf")
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    async def wait(self, request: web.Request) -> None:
        """Until it is this one's turn. Raises ConnectionResetError where who asks has gone meanwhile."""
        if request.transport is None:
            raise ConnectionResetError
        turn = asyncio.get_running_loop().create_future()

        def leave() -> None:
            if not turn.done():
                turn.set_exception(ConnectionResetError())

        protocol = request.transport.get_protocol()
        if isinstance(protocol, BoundedProtocol):
            protocol.on_lost = leave
        self._waiting[turn] = None
        self._go_on()
        try:
            await turn
        finally:
            # Who has gone keeps no place: the queue is no longer than there are connections.
            self._waiting.pop(turn, None)
            if isinstance(protocol, BoundedProtocol):
                protocol.on_lost = None

    def _go_on(self) -> None:
        if self._timer is None and self._waiting:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(loop.time(), self._last + GUESS_SECONDS), self._call)

    def _call(self) -> None:
        self._timer = None
        while self._waiting:
            turn, _ = self._waiting.popitem(last=False)
            if not turn.done():
                turn.set_result(None)
                self._last = asyncio.get_running_loop().time()
                break
        self._go_on()
