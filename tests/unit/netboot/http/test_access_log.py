"""One line for each request: its fields, and what never stands in it."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from support.log_lines import LogLines

from ectools.netboot.http.access_log import AccessLog, log_rejection, printable_path
from ectools.netboot.http.responses import FileReply, MemoryReply, Part
from ectools.netboot.http.sendfile import Abort

if TYPE_CHECKING:
    from collections.abc import Callable

    from ectools.netboot.http.connection import Connection
    from ectools.netboot.http.webroot import OpenedFile


@pytest.fixture
def lines() -> Callable[[], list[dict[str, Any]]]:
    return LogLines().all


def write(path: str, response: web.StreamResponse, *, seconds: float = 0.12345, **headers: str) -> None:
    request = make_mocked_request("GET", path, headers=headers).clone(remote="::ffff:192.0.2.7")
    AccessLog(logging.getLogger("x"), "").log(request, response, seconds)


def fields(line: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name not in ("time", "level", "event")}


def test_an_answer_from_memory(lines: Callable[[], list[dict[str, Any]]]) -> None:
    reply = MemoryReply(status=200, body=b"four")
    reply.sent = 4
    write("/netboot.ipxe?token=s3cret", reply)
    (line,) = lines()
    assert (line["level"], line["event"]) == ("info", "request")
    assert fields(line) == {
        "peer": "192.0.2.7",
        "method": "GET",
        "path": "/netboot.ipxe",
        "status": 200,
        "bytes": 4,
        "seconds": 0.1235,
    }


def test_an_answer_that_broke_off(lines: Callable[[], list[dict[str, Any]]]) -> None:
    reply = FileReply(
        status=206, headers={}, file=cast("OpenedFile", None), part=Part(start=0, size=100), count=50
    )
    reply.sent, reply.aborted = 10, Abort.CLIENT_GONE
    write("/initrd", reply, Range="bytes=0-49")
    (line,) = lines()
    assert fields(line) == {
        "peer": "192.0.2.7",
        "method": "GET",
        "path": "/initrd",
        "status": 206,
        "bytes": 10,
        "seconds": 0.1235,
        "aborted": "client gone",
        "range": "bytes=0-49",
    }


def test_aiohttps_own_answer_to_what_is_no_request(lines: Callable[[], list[dict[str, Any]]]) -> None:
    write("/anything", web.Response(status=400, body=b"bad"))
    (line,) = lines()
    assert (line["method"], line["path"], line["status"], line["bytes"]) == (None, None, 400, 0)
    assert "aborted" not in line


def test_a_range_is_cut_escaped_and_holds_no_token(lines: Callable[[], list[dict[str, Any]]]) -> None:
    write("/x", MemoryReply(status=200), Range="x" * 99 + "yz")
    write("/x", MemoryReply(status=200), Range="bytes=0-token=s3cret")
    write("/x", MemoryReply(status=200), Range="\x9b31m")
    ranges = [line["range"] for line in lines()]
    assert ranges[0] == "x" * 99 + "y"
    assert "s3cret" not in ranges[1]
    assert ranges[2] == "\\x9b31m"


def test_a_connection_that_was_rejected(lines: Callable[[], list[dict[str, Any]]]) -> None:
    class Rejected:
        peer = "192.0.2.7"

    log_rejection(cast("Connection", Rejected()), HTTPStatus.REQUEST_TIMEOUT)
    (line,) = lines()
    assert line["event"] == "request"
    assert fields(line) == {"peer": "192.0.2.7", "method": None, "path": None, "status": 408, "bytes": 0}


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("/", "/"),
        ("/a//b", "/a//b"),
        ("http://boot", "/"),
        ("http://boot/a/b", "/a/b"),
        ("ftp://user:x@boot/a", "/a"),
        ("*", "*"),
        ("/a://b/c", "/a://b/c"),
        ("/" + "x" * 999, "/" + "x" * 999),
        ("/" + "x" * 1000, "/" + "x" * 999),
        ("/\n", "/\\n"),
    ],
)
def test_more_paths(target: str, shown: str) -> None:
    assert printable_path(target) == shown


def test_a_token_is_left_out_wherever_it_stands() -> None:
    assert "s3cret" not in printable_path("/kernel%3Ftoken=s3cret")
