"""Files for answers, opened and read where nobody waits for the disk but who asked.

The loop asks the kernel only for what that knows without waiting (``resolve_cached``). The rest is done by
threads, of which all that is below one name in the root has a share. So a mount there that hangs holds up
those who want something of it, and nobody else.
"""

from __future__ import annotations

import asyncio
import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from ectools.netboot.http.cache import MAX_FILE_BYTES, CachedFile, FileCache, file_identity
from ectools.netboot.http.resolve_cached import stat_cached
from ectools.netboot.http.webroot import RejectedError, build_validators

if TYPE_CHECKING:
    from ectools.netboot.http.webroot import OpenedFile, WebRoot

_THREADS = 32
_THREADS_OF_ONE = 8
"""For all that is asked for below one name in the root."""
_HEALTH_SECONDS = 2.0


class Files:
    """The files of one root, from one event loop."""

    def __init__(self, root: WebRoot) -> None:
        self._root = root
        self._small_files = FileCache()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="files")
        self._turns: WeakValueDictionary[bytes, asyncio.Semaphore] = WeakValueDictionary()
        self._health_thread = ThreadPoolExecutor(1, thread_name_prefix="health")
        self._health: asyncio.Future[bool] | None = None

    async def get(self, segments: tuple[bytes, ...]) -> CachedFile | OpenedFile:
        """A small file's content, or an opened file, which is the caller's to close. Raises RejectedError."""
        path = self._root.find_path(segments)
        known = await self._find_known(path, segments)
        if known is not None:
            return known
        found = await self._open(segments)
        if isinstance(found, CachedFile):
            self._small_files.remember(path, found, now=time.time())
        return found

    async def is_root_there(self) -> bool:
        """Whether the root can be served now; False also where the disk does not answer within 2 s."""
        if self._health is None or self._health.done():
            # One look for all who ask meanwhile: where it hangs, it does so once.
            loop = asyncio.get_running_loop()
            self._health = loop.run_in_executor(self._health_thread, self._root.is_there)
        asked = self._health
        done, _ = await asyncio.wait({asked}, timeout=_HEALTH_SECONDS)
        return bool(done) and asked.result()

    def close(self) -> None:
        """Let the threads end, without waiting: for one that hangs the end of the process alone waits."""
        for threads in (self._threads, self._health_thread):
            threads.shutdown(wait=False, cancel_futures=True)

    def _turn(self, segments: tuple[bytes, ...]) -> asyncio.Semaphore:
        """The semaphore of all that is below one name in the root: how many threads it may take."""
        return self._turns.setdefault(segments[0], asyncio.Semaphore(_THREADS_OF_ONE))

    async def _find_known(self, path: bytes, segments: tuple[bytes, ...]) -> CachedFile | None:
        if path not in self._small_files:
            return None
        try:
            status = stat_cached(path)
            if status is None:
                loop = asyncio.get_running_loop()
                async with self._turn(segments):
                    status = await loop.run_in_executor(self._threads, os.stat, path)
        except OSError:
            status = None
        return self._small_files.find(path, status)

    async def _open(self, segments: tuple[bytes, ...]) -> CachedFile | OpenedFile:
        async with self._turn(segments):
            opening = self._threads.submit(read_cached_file, self._root, segments)
            try:
                return await asyncio.wrap_future(opening)
            except asyncio.CancelledError:
                # Whoever asked is gone; what is opened meanwhile belongs to nobody.
                opening.add_done_callback(_close)
                raise


def read_cached_file(root: WebRoot, segments: tuple[bytes, ...]) -> CachedFile | OpenedFile:
    """Open a file, and read it where it is small. It may take its time. Raises RejectedError."""
    file = root.open(segments)
    if file.status.st_size > MAX_FILE_BYTES:
        return file
    try:
        content = os.pread(file.descriptor, file.status.st_size, 0)
        now = os.fstat(file.descriptor)
    except OSError as error:
        raise RejectedError(500, "the file cannot be read") from error
    finally:
        os.close(file.descriptor)
    if len(content) != file.status.st_size or file_identity(now) != file_identity(file.status):
        raise RejectedError(503, "the file is being replaced; try again")
    return CachedFile(
        content=content, validators=build_validators(file.status, now=time.time()), status=file.status
    )


def _close(opening: Future[CachedFile | OpenedFile]) -> None:
    if opening.cancelled() or opening.exception() is not None:
        return
    found = opening.result()
    if not isinstance(found, CachedFile):
        os.close(found.descriptor)
