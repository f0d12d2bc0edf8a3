"""Answers: from memory in one write, or from a file by the pump."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from aiohttp import web

from ectools.netboot.http.pump import Abort

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ectools.netboot.http.connection import Connection
    from ectools.netboot.http.webroot import OpenedFile


class MemoryReply(web.Response):
    """An answer from memory. ``sent`` counts the body's bytes that went; ``aborted`` says why not all did."""

    sent = 0
    aborted: Abort | None = None

    async def send(self, request: web.BaseRequest, connection: Connection, *, stall_seconds: float) -> None:
        try:
            async with asyncio.timeout(stall_seconds):
                await self.prepare(request)
                await self.write_eof()
        except ConnectionError:
            self.aborted = Abort.CLIENT_GONE
        except TimeoutError:
            self.aborted = Abort.CLIENT_STALLED
            connection.abort(self.aborted)
        else:
            if request.method != "HEAD" and isinstance(self.body, bytes):
                self.sent = len(self.body)


class FileReply(web.StreamResponse):
    """An answer whose body is a part of a file; it owns the file's descriptor."""

    sent = 0
    aborted: Abort | None = None

    def __init__(
        self, *, status: int, headers: Mapping[str, str], file: OpenedFile, offset: int, count: int
    ) -> None:
        super().__init__(status=status, headers=headers)
        self.content_length = count
        self._file = file
        self._offset = offset
        self._count = count

    async def send(self, request: web.BaseRequest, connection: Connection, *, stall_seconds: float) -> None:
        try:
            async with asyncio.timeout(stall_seconds):
                writer = await self.prepare(request)
                assert writer is not None  # noqa: S101 - it is None only once the end was written
                await writer.drain()
            self.sent, self.aborted = await connection.send_file(
                self._file, offset=self._offset, count=self._count
            )
            if self.aborted is None:
                await self.write_eof()
        except ConnectionError:
            self.aborted = Abort.CLIENT_GONE
        except TimeoutError:
            self.aborted = Abort.CLIENT_STALLED
        except OSError:
            self.aborted = Abort.NO_DESCRIPTOR
        finally:
            os.close(self._file.descriptor)
        if self.aborted is not None:
            # A connection that just ends is the only way to say that the promised length does not come.
            self.force_close()
            connection.abort(self.aborted)
