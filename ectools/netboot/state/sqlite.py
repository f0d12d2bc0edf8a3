"""The store of one host: SQLite, whose file one thread reads and writes.

All that has been asked for while a transaction was committed is the next transaction: so a crowd's changes
cost one commit, and nothing waits on the event loop. A result is handed over when its transaction is
committed. Where the disk is full, read-only or gone, each call raises StateError, and the next one tries
again.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from ectools import log
from ectools.netboot.state import statements
from ectools.netboot.state.broadcast import Broadcast
from ectools.netboot.state.database import cut_log, is_corrupt, is_log_long, open_database, write_back
from ectools.netboot.state.entries import check_key, encode_value
from ectools.netboot.state.interface import StateDeletion, StateEntry, StateError, StateEvent
from ectools.timers import Guard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path

_log = log.Log(__name__)

_T = TypeVar("_T")

STATE_FILE = "state.sqlite3"
"""Its name in the state directory."""

MAX_QUEUED = 16384
"""Calls that may wait; what comes on top is refused at once."""
_MAX_BATCH = 1024
_AT_ONCE = 500
_RETRY_SECONDS = 1.0
_CLOSE_SECONDS = 5.0
# Calls, after which the log of what was committed is written back to the file.
_WRITE_BACK_AFTER = 1000


@dataclass(kw_only=True, eq=False)
class _Call:
    """``done`` is called on the loop with the result, once that is committed, whoever still waits for it."""

    work: Callable[[sqlite3.Connection], Any]
    future: asyncio.Future[Any]
    done: Callable[[Any], object] | None
    result: Any = None
    error: BaseException | None = None


class SqliteStore:
    """A StateStore in the file ``path``. ``clock`` gives Unix seconds.

    ``start`` opens the file and ``close`` ends the thread; what was asked for before is done.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._waiting = 0
        self._broadcasts: dict[str, Broadcast[StateEntry | StateDeletion]] = {}
        self._thread = threading.Thread(target=self._run, name="state", daemon=True)
        self._connection: sqlite3.Connection | None = None
        self._failed_at = 0.0
        self._failure: StateError | None = None
        self._unwritten = 0
        self._writing_back: asyncio.Task[None] | None = None
        self._is_closing = False
        self._is_log_long = False
        self.guard = Guard("the state", clock=self._loop.time)
        self.trouble: str | None = None
        """Why it could not be read or written the last time; None where it could."""
        self.done = 0
        """Calls whose transaction was committed, whatever came of each."""
        self.failed = 0
        """Calls that could not be done, or were refused because too many waited."""

    @property
    def waiting(self) -> int:
        """Calls that wait for the disk."""
        return self._waiting

    async def start(self) -> None:
        """Open the file, made where there is none. Where that fails, ``trouble`` says why; each call tries
        again.
        """
        self._thread.start()
        with contextlib.suppress(StateError):
            await self._ask(lambda _: None)

    async def close(self) -> None:
        """End, once all calls have been done; a disk that hangs is waited for a few seconds."""
        deadline = self._loop.time() + _CLOSE_SECONDS
        # The last connection that is closed locks the file, and whoever opens it then fails.
        self._is_closing = True
        if self._writing_back is not None:
            await asyncio.wait({self._writing_back}, timeout=_CLOSE_SECONDS)
        self._calls.put(None)
        while self._thread.is_alive() and self._loop.time() < deadline:
            await asyncio.to_thread(self._thread.join, 0.2)

    async def get(self, key: str, *, fresh: bool = False) -> StateEntry | None:  # noqa: ARG002 - it always is
        check_key(key)
        entry: StateEntry | None = await self._ask(lambda connection: statements.get(connection, key))
        return entry

    async def put(self, key: str, value: Mapping[str, Any], *, expected: int | None = None) -> int:
        check_key(key)
        text, now = encode_value(key, value), self._clock()

        def tell(revision: int) -> None:
            self._tell(StateEntry(key=key, value=value, revision=revision, changed=now))

        revision: int = await self._ask(
            lambda connection: statements.put(connection, key, text, expected=expected, now=now), done=tell
        )
        return revision

    async def delete(self, key: str, *, expected: int | None = None) -> None:
        check_key(key)

        def tell(was_there: bool) -> None:
            if was_there:
                self._tell(StateDeletion(key=key))

        await self._ask(lambda connection: statements.delete(connection, key, expected=expected), done=tell)

    async def list(self, prefix: str) -> Sequence[StateEntry]:
        entries: Sequence[StateEntry] = await self._ask(
            lambda connection: statements.list_entries(connection, prefix)
        )
        return entries

    def watch(self, prefix: str) -> AsyncIterator[StateEntry | StateDeletion | None]:
        return self._broadcasts.setdefault(prefix, Broadcast()).listen()

    async def append(
        self, kind: str, *, subject: str, by: str | None = None, data: Mapping[str, Any] | None = None
    ) -> StateEvent:
        text, now = encode_value(kind, data or {}), self._clock()
        sequence: int = await self._ask(
            lambda connection: statements.append(connection, (now, kind, subject, by, text))
        )
        return StateEvent(sequence=sequence, at=now, kind=kind, subject=subject, by=by, data=data or {})

    async def events(self, *, after: int = 0, limit: int = 1000) -> Sequence[StateEvent]:
        events: Sequence[StateEvent] = await self._ask(
            lambda connection: statements.list_events(connection, after, limit)
        )
        return events

    async def prune(self, prefix: str, *, before: float) -> int:
        """In steps, between which others get their turn."""
        gone = 0

        def tell(pruned: tuple[Sequence[str], str | None]) -> None:
            for key in pruned[0]:
                self._tell(StateDeletion(key=key))

        if prefix:
            prune = partial(statements.prune_entries, prefix=prefix, before=before, limit=_AT_ONCE)
            start: str | None = None
            while True:
                keys, start = await self._ask(partial(prune, start=start), done=tell)
                gone += len(keys)
                if start is None:
                    return gone
        while True:
            count: int = await self._ask(
                lambda connection: statements.prune_events(connection, before=before, limit=_AT_ONCE)
            )
            gone += count
            if count < _AT_ONCE:
                return gone

    async def transact(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """What ``work`` returns, once the statements that it has run are committed: all of them, or none.

        Nobody who watches is told. Raises StateError.
        """
        result: _T = await self._ask(work)
        return result

    def _tell(self, change: StateEntry | StateDeletion) -> None:
        for prefix, broadcast in list(self._broadcasts.items()):
            if not len(broadcast):
                del self._broadcasts[prefix]
            elif change.key.startswith(prefix):
                broadcast.publish(change)

    async def _ask(
        self, work: Callable[[sqlite3.Connection], Any], *, done: Callable[[Any], object] | None = None
    ) -> Any:
        if self._waiting >= MAX_QUEUED:
            self.failed += 1
            raise StateError(f"{self._path}: more is to be written than the disk takes; try again")
        self._waiting += 1
        call = _Call(work=work, future=self._loop.create_future(), done=done)
        self._calls.put(call)
        return await call.future

    def _deliver(self, calls: Sequence[_Call], trouble: StateError | None) -> None:
        """On the loop: what became of a batch."""
        self._waiting -= len(calls)
        if trouble is None:
            self.done += len(calls)
        else:
            self.failed += len(calls)
        self._report(trouble)
        for call in calls:
            if call.error is None and call.done is not None:
                self.guard.call(call.done, call.result)
            if call.future.done():
                continue  # whoever asked has gone
            if call.error is None:
                call.future.set_result(call.result)
            else:
                call.future.set_exception(call.error)
        self._unwritten += len(calls)
        if self._unwritten >= _WRITE_BACK_AFTER and self._writing_back is None and not self._is_closing:
            self._unwritten = 0
            self._writing_back = self._loop.create_task(self._write_back())

    def _report(self, trouble: StateError | None) -> None:
        reason = None if trouble is None else trouble.message
        if reason == self.trouble:
            return
        if trouble is None:
            _log.info("what is remembered can be written again", file=str(self._path))
        else:
            _log.error("what is remembered cannot be written; nodes boot without it", reason=trouble.render())
        self.trouble = reason

    async def _write_back(self) -> None:
        try:
            await asyncio.to_thread(write_back, self._path)
            self._is_log_long = await asyncio.to_thread(is_log_long, self._path)
        except sqlite3.Error as error:
            _log.warning("the log of the state cannot be written back", reason=str(error))
        except Exception as error:
            self.guard.report(error)
        finally:
            self._writing_back = None

    def _run(self) -> None:
        """The thread: batch by batch, until None comes."""
        is_last = False
        while not is_last:
            batch = [self._calls.get()]
            with contextlib.suppress(queue.Empty):
                while len(batch) < _MAX_BATCH:
                    batch.append(self._calls.get_nowait())
            is_last = None in batch
            calls = [each for each in batch if each is not None]
            trouble = self._transact(calls)
            try:
                self._loop.call_soon_threadsafe(self._deliver, calls, trouble)
            except RuntimeError:
                break  # the loop is closed: nobody waits for anything any more
        if self._connection is not None:
            self._connection.close()

    def _transact(self, calls: Sequence[_Call]) -> StateError | None:
        """Do all calls in one transaction, and give each its result. Returns why none was done."""
        try:
            connection = self._open()
            if self._is_log_long:
                self._is_log_long = False
                cut_log(connection)
            connection.execute("BEGIN IMMEDIATE")
            for call in calls:
                try:
                    call.result = call.work(connection)
                except (sqlite3.Error, OSError):
                    raise
                except Exception as error:  # a conflict, or what cannot be written: this call's alone
                    call.error = error
            connection.execute("COMMIT")
        except Exception as error:
            failure = self._fail(error)
            for call in calls:
                call.error = failure
            return failure
        self._failure = None
        return None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            # What has just failed is not tried again for each of a crowd.
            if self._failure is not None and time.monotonic() - self._failed_at < _RETRY_SECONDS:
                raise self._failure
            self._connection = open_database(self._path)
        return self._connection

    def _fail(self, error: Exception) -> StateError:
        """Close the file, which ends the transaction: the next batch opens it anew, and looks at it."""
        if error is self._failure:
            return self._failure
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
        self._failed_at = time.monotonic()
        if isinstance(error, StateError):
            self._failure = error
        elif isinstance(error, sqlite3.Error | OSError):
            reason = "it is corrupt" if is_corrupt(error) else error
            self._failure = StateError(f"{self._path}: what is to be remembered cannot be kept: {reason}")
        else:
            self._loop.call_soon_threadsafe(self.guard.report, error)
            self._failure = StateError(f"{self._path}: a fault of this program: {error}")
        return self._failure
