"""urllib3's connections, but for how many lines an answer may have around its content.

http.client bounds each line and the number of headers. What it reads without an end are answers before the
answer (100 Continue; RFC 9110, section 15.2.1) and the trailer after the last chunk (RFC 9112, 7.1.2).
"""

from __future__ import annotations

import http.client
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

_FREE_LINES = 1000
_BYTES_A_LINE = 16
"""Of the content, for each further line: a line stands before each chunk."""


class _Lines:
    """The file of a response's socket, with a count of the lines and of the bytes of content read from it."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._lines = 0
        self._bytes = 0

    def readline(self, limit: int = -1, /) -> bytes:
        self._lines += 1
        if self._lines > _FREE_LINES + self._bytes // _BYTES_A_LINE:
            raise http.client.HTTPException(f"{self._lines} lines around {self._bytes} bytes of content")
        line: bytes = self._file.readline(limit)
        return line

    def read(self, size: int = -1, /) -> bytes:
        return self._count(self._file.read(size))

    def read1(self, size: int = -1, /) -> bytes:
        return self._count(self._file.read1(size))

    def _count(self, data: bytes) -> bytes:
        self._bytes += len(data)
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class _Response(http.client.HTTPResponse):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.fp: Any = _Lines(self.fp)


class _Http(HTTPConnection):
    response_class = _Response


class _Https(HTTPSConnection):
    response_class = _Response


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Https


def bound_lines(manager: urllib3.PoolManager) -> urllib3.PoolManager:
    """``manager``, whose answers are bounded so: one with more lines is a HTTPError of urllib3."""
    manager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
    return manager
