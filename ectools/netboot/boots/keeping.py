"""What is in memory of boots, brought into the store: at once for who waits, else now and then."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from ectools.netboot.state.interface import StateError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ectools.netboot.boots.archive import BootArchive
    from ectools.netboot.boots.memory import BootMemory, LiveBoot

_DURABLE_SECONDS = 2.0  # a script does not wait longer for a disk that hangs
_TRIM_EVERY = 50
_AT_ONCE = 256


class BootKeeper:
    """Writes of ``memory`` into ``archive``."""

    def __init__(self, archive: BootArchive, memory: BootMemory) -> None:
        self._archive = archive
        self._memory = memory

    async def write_in_time(self, lives: Sequence[LiveBoot]) -> None:
        """What is not written by then is written later."""
        with contextlib.suppress(StateError, TimeoutError):  # the store says so
            async with asyncio.timeout(_DURABLE_SECONDS):
                await self.write(lives)

    async def write(self, lives: Sequence[LiveBoot]) -> None:
        """Raises StateError, once all that can be written has been."""
        results = await asyncio.gather(*(self._put(each) for each in lives), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def write_all(self) -> None:
        """Bring the store up to date, and bound what it has of a subject. Raises StateError, at the end: one
        boot that cannot be written, whosever it is, must not let the store grow.
        """
        failures: list[StateError] = []
        for work in (self._write_unwritten, self._forget, self._trim):
            try:
                await work()
            except StateError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    async def sweep(self, *, before: float, unreadable_before: float) -> None:
        """Subjects that memory has no more, and the store has: more went at once than were to be forgotten,
        or they were left by a server that was killed.

        ``before``, ``unreadable_before``: as in ``BootArchive.list_strays``. Raises StateError.
        """
        found = await self._archive.list_strays(
            self._memory.newest, before=before, unreadable_before=unreadable_before
        )
        strays = list(found.items())
        for start in range(0, len(strays), _AT_ONCE):
            some = strays[start : start + _AT_ONCE]
            await asyncio.gather(*(self._archive.drop(digest, revision) for digest, revision in some))

    async def _write_unwritten(self) -> None:
        await self.write(list(self._memory.unwritten.values()))

    async def _forget(self) -> None:
        """Not those that come meanwhile: whoever makes up names may be as fast as the disk."""
        memory = self._memory
        subjects = list(memory.forgotten)
        for start in range(0, len(subjects), _AT_ONCE):
            some = [each for each in subjects[start : start + _AT_ONCE] if each in memory.forgotten]
            for each in some:
                del memory.forgotten[each]
            # Who has come again is there anew.
            gone = [each for each in some if each not in memory.newest]
            results = await asyncio.gather(*map(self._archive.forget, gone), return_exceptions=True)
            for each in some:
                # It has come meanwhile, and may be gone with what it had before.
                if (live := memory.newest.get(each)) is not None:
                    memory.change(live)
            failed = {each: result for each, result in zip(gone, results, strict=True) if result is not None}
            memory.forgotten |= dict.fromkeys(each for each in failed if each not in memory.newest)
            for failure in failed.values():
                raise failure

    async def _trim(self) -> None:
        memory = self._memory
        for subject in [each for each, begun in memory.begun.items() if begun >= _TRIM_EVERY]:
            await self._archive.trim(subject)
            if subject in memory.begun:
                memory.begun[subject] = 0

    async def _put(self, live: LiveBoot) -> None:
        boot, is_newest = live.boot, self._memory.is_newest(live)
        await self._archive.put(boot, is_newest=is_newest)
        if live.boot is boot and self._memory.is_newest(live) == is_newest:
            live.is_kept = True
            self._memory.unwritten.pop(boot.id, None)
