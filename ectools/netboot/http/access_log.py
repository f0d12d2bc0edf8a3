"""The access log: one line for each request, and for each connection rejected before it had made one.

Fields: ``peer``, ``method``, ``path`` (without its query, which may hold a token), ``status``, ``bytes`` of
the body that were handed to the network, ``seconds``; ``range`` where one was asked for, ``aborted`` where
the answer broke off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp.abc import AbstractAccessLogger

from ectools import log
from ectools.netboot.http.listen import plain_address
from ectools.netboot.http.responses import FileReply, MemoryReply
from ectools.redact import redact_after_token

if TYPE_CHECKING:
    from http import HTTPStatus

    from aiohttp import web

    from ectools.netboot.http.connection import Connection

_log = log.Log(__name__)


class AccessLog(AbstractAccessLogger):
    """The log that aiohttp calls after each response, its own error responses included."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        fields: dict[str, Any] = {
            "peer": plain_address(request.remote or ""),
            "method": request.method,
            "path": printable_path(request.raw_path),
            "status": response.status,
            "bytes": 0,
            "seconds": round(time, 4),
        }
        if isinstance(response, MemoryReply | FileReply):
            fields["bytes"] = response.sent
            if response.aborted is not None:
                fields["aborted"] = response.aborted
        else:
            # aiohttp's own answer to what it could not parse: there is no method and no path.
            fields["method"] = fields["path"] = None
        if "Range" in request.headers:
            fields["range"] = log.escape(redact_after_token(request.headers["Range"])[:100])
        _log.info("request", **fields)


def log_rejection(connection: Connection, status: HTTPStatus) -> None:
    """Log a connection that was rejected without a request that could be parsed."""
    _log.info("request", peer=connection.peer, method=None, path=None, status=status.value, bytes=0)


def printable_path(target: str) -> str:
    """The path of a request target: no query, no credentials, its first 1000 characters, escaped.

    What follows ``token=`` is left out wherever it stands: somebody may have encoded the question mark.
    """
    path = redact_after_token(target.partition("?")[0])
    if not path.startswith("/") and "://" in path:
        path = "/" + path.partition("://")[2].partition("/")[2]
    return log.escape(path[:1000])
