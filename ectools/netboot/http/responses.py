"""Responses: from memory in one write, or from a file by the scheduler of ``sendfile``."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from aiohttp import web

from ectools.netboot.http.sendfile import Abort

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ectools.netboot.http.connection import Connection
    from ectools.netboot.http.webroot import OpenedFile


@dataclass(frozen=True, kw_only=True)
class Part:
    """Where a body begins within the whole, and how many bytes the whole has."""

    start: int
    size: int


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What became of an answer. ``reached_end``: the last byte of the file or content was handed over."""

    status: int
    sent: int
    reached_end: bool

    @property
    def of_content(self) -> bool:
        """Whether the body was of what was asked for, whole or in part, and not an error's message."""
        return self.status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT)


class Reply(web.StreamResponse):
    """A response that knows what became of it.

    ``sent``: the body's bytes that were handed to the network; ``aborted``: why not all were. ``part`` is set
    where the body is of a file or content; ``on_complete`` is called at the end, by ``report``.
    """

    sent = 0
    aborted: Abort | None = None
    part: Part | None = None
    on_complete: Callable[[Delivery], None] | None = None

    def report(self) -> None:
        """Call ``on_complete`` with what became of the response."""
        if self.on_complete is not None:
            part = self.part
            reached = part is not None and self.aborted is None and part.start + self.sent == part.size
            self.on_complete(Delivery(status=self.status, sent=self.sent, reached_end=reached))


class MemoryReply(Reply, web.Response):
    """An answer from memory."""

    def __init__(self, *, part: Part | None = None, **response: Any) -> None:
        super().__init__(**response)
        self.part = part

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


class FileReply(Reply):
    """An answer whose body is a part of a file; it owns the file's descriptor."""

    def __init__(
        self, *, status: int, headers: Mapping[str, str], file: OpenedFile, part: Part, count: int
    ) -> None:
        super().__init__(status=status, headers=headers)
        self.content_length = count
        self.part = part
        self._file = file
        self._offset = part.start
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
