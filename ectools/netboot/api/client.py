"""A client of the control socket: JSON in and out, and errors that say what to do."""

from __future__ import annotations

import contextlib
import grp
import http.client
import json
import os
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ectools.errors import EcError, InputError
from ectools.netboot.api.rights import USER_HEADER
from ectools.privileges import describe_user

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SECONDS = 30.0
_MAX_ANSWER = 64 << 20
# What was asked for is wrong, and not the server.
_OF_INPUT = frozenset({400, 404, 409, 413})


class NoAnswerError(EcError):
    """The boot server does not answer, or not to its end: it may be on its way down, or up again."""


class NoServerError(NoAnswerError):
    """No boot server answers at the socket."""


class NoRightError(EcError):
    """The socket is there, and this user may not open it."""


class FleetClient:
    """A client of the boot server whose control socket is at ``path``. Each call raises EcError."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, *segments: str, **query: int) -> Any:
        """What stands below ``/api/v1/``."""
        parameters = "&".join(f"{name}={value}" for name, value in query.items())
        return self._ask("GET", segments, query=parameters)

    def post(self, *segments: str, body: Mapping[str, Any] | None = None) -> Any:
        """What became of a change."""
        return self._ask("POST", segments, body=body or {})

    def delete(self, *segments: str) -> None:
        """Take something away."""
        self._ask("DELETE", segments)

    def _ask(
        self,
        method: str,
        segments: tuple[str, ...],
        *,
        query: str = "",
        body: Mapping[str, Any] | None = None,
    ) -> Any:
        for each in segments:
            _check(each)
        path = "/api/v1/" + "/".join(quote(each, safe="") for each in segments)
        content = None if body is None else json.dumps(body)
        headers = {"Content-Type": "application/json", USER_HEADER: _find_user()}
        with contextlib.closing(_UnixConnection(self._path)) as connection:
            try:
                connection.request(method, f"{path}?{query}" if query else path, content, headers)
                answer = connection.getresponse()
                raw = answer.read(_MAX_ANSWER)
            except (OSError, http.client.HTTPException) as error:
                raise self._explain(error) from error
        return self._read(answer.status, raw)

    def _read(self, status: int, raw: bytes) -> Any:
        if status == http.client.NO_CONTENT:
            return None
        try:
            value = json.loads(raw)
        except ValueError as error:
            raise EcError(f"{self._path}: answers what is no JSON (status {status})") from error
        if status < http.client.BAD_REQUEST:
            return value
        message = "\n".join([value["error"], *value["problems"]])
        kind = InputError if status in _OF_INPUT else EcError
        raise kind(message, hint=value["hint"])

    def _explain(self, error: Exception) -> EcError:
        if isinstance(error, PermissionError):
            group = _find_group(self._path)
            return NoRightError(
                f"{self._path}: is for root and the group {group}",
                hint=f"use sudo, or `usermod -aG {group} {_find_user()}` and log in anew",
            )
        if isinstance(error, FileNotFoundError | ConnectionRefusedError | NotADirectoryError):
            return NoServerError(
                f"{self._path}: no boot server answers there",
                hint="start one (systemctl start every-channel-netboot.service); by hand, "
                "`ectools netboot serve --control-socket PATH` makes a socket that --socket PATH names",
            )
        return NoAnswerError(f"{self._path}: the boot server does not answer: {error}")


def _check(name: str) -> None:
    """Raises InputError for what cannot stand in an address: no name, or one that is no text."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{name!r}: is no name of anything: a name is UTF-8") from error
    if not name:
        raise InputError("a name was expected, and an empty one was given")


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a socket in the file system."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_SECONDS)
        self.sock.connect(os.fspath(self._path))


def _find_user() -> str:
    """The name of this user; behind sudo, of who called it."""
    called_by = os.environ.get("SUDO_USER")
    if called_by and os.geteuid() == 0:
        return called_by
    return describe_user(os.geteuid())


def _find_group(path: Path) -> str:
    """The group that a socket, or the first directory that can be seen on the way to it, belongs to."""
    for each in (path, *path.parents):
        with contextlib.suppress(OSError):
            gid = each.stat().st_gid
            try:
                return grp.getgrgid(gid).gr_name
            except KeyError:
                return str(gid)
    return "of the service"
