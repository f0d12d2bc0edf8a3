"""The boot server's HTTP, fed with raw bytes: from the connection to the reply, with access rules and site.

Whatever comes: no exception escapes, and what is sent with 200 or 206 is a part of what this client may have.
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import re
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from support.staged import make_release, put_release

from ectools.netboot.http.connection import Connection
from ectools.netboot.http.server import HttpServer
from ectools.netboot.http.settings import HttpSettings
from ectools.netboot.release.store import ReleaseStore
from ectools.netboot.server.policy import ServingPolicy
from ectools.netboot.server.site import BootSite
from ectools.netboot.settings.load import load_netboot_settings

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGES = ("ectools", "aiohttp", "yarl", "multidict")
TOKEN, SECRET, KERNEL, FIRST = "f00d-token", b"nobody is to see this", b"the kernel" * 9, b"#!ipxe\n# first\n"
_FILES = {"bzImage": KERNEL, "initrd": SECRET, "more/notes": b"notes"}
_RELEASE = make_release(_FILES)
_STATUS = re.compile(rb"^HTTP/\d\.\d (\d{3}) [^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n", re.MULTILINE)
_EXPECTED = {200, 206, 304, 400, 403, 404, 405, 413, 416, 417, 431, 503, 505}
_TURNS = 40


def _get(target: str, *fields: str) -> bytes:
    return "\r\n".join([f"GET {target} HTTP/1.1", "Host: boot", *fields, "", ""]).encode()


SEEDS = (
    _get("/bzImage"),
    _get("/bzImage", "Range: bytes=0-9,20-", 'If-Range: "x"'),
    _get("/netboot.ipxe?token=x", "X-Boot-Token: y"),
    _get(f"/releases/{_RELEASE.id}/more/notes") + _get("/autoexec.ipxe"),
    _get("/initrd", "X-Forwarded-For: 127.0.0.1, 10.0.0.1", 'Forwarded: for="[::1]:80";by=x'),
    _get("/healthz", "Content-Length: 4") + b"body",
    _get("http://boot/%62zImage", "If-None-Match: *", "If-Modified-Since: Sat, 21 Nov 2026 15:00:00 GMT"),
    b"HEAD /../secret HTTP/1.0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
)
WORDS = (
    *(b"GET ", b"HEAD ", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b"Host: boot\r\n", b"\r\n\r\n", b"\r\n"),
    *(b"/releases/", _RELEASE.id.encode(), b"/initrd", b"/netboot.ipxe", b"/release.json", b"/secret"),
    *(b"..", b"/../", b"%2e", b"%2f", b"%00", b"//", b"?token=", b"X-Boot-Token: ", b"tftp/", b"current/"),
    *(b"Range: bytes=", b"If-Range: ", b"If-None-Match: ", b"If-Match: ", b"Connection: close\r\n"),
    *(b"Content-Length: ", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n", b"Upgrade: "),
    *(b"X-Forwarded-For: ", b"Forwarded: for=", b"127.0.0.1", b"::ffff:127.0.0.1"),
)


class Wire(asyncio.Transport):
    """A transport that keeps what is written, and is as fast as memory."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.connection: Connection | None = None
        self.written = b""
        self.closing = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self.connection is not None
        return self.connection

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            asyncio.get_running_loop().call_soon(self.get_protocol().connection_lost, None)

    abort = close

    def write_eof(self) -> None:
        pass

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


def feed(data: bytes) -> None:
    """One connection on which ``data`` comes. Raises where the answer is not one that may be."""
    loop, server, broken = _build()
    answer = loop.run_until_complete(_answer(server, data))
    assert not broken, broken
    _judge(data, answer)


@functools.cache
def _build() -> tuple[asyncio.AbstractEventLoop, HttpServer, list[dict[str, Any]]]:
    """The server on a loop, and a list for what the loop complains of."""
    # Kept for as long as the process lives, which libFuzzer ends.
    state = Path(tempfile.mkdtemp(prefix="ectools-fuzz-"))
    directory = put_release(state, _RELEASE, {name: data for name, data in _FILES.items() if "/" not in name})
    (directory / "more").mkdir()
    (directory / "more" / "notes").write_bytes(_FILES["more/notes"])
    (state / "tftp").mkdir()
    (state / "tftp" / "autoexec.ipxe").write_bytes(FIRST)
    for path in (state / "secret", state / "tftp" / "other.efi", directory / "unlisted"):
        path.write_bytes(SECRET)
    options = {
        "stateDir": str(state),
        "protectedFiles": ["netboot.ipxe", "initrd"],
        "httpAllowedCIDRs": ["127.0.0.0/8"],
        "trustedProxies": ["127.0.0.1"],
    }
    settings = load_netboot_settings(None, flags=options, environment={})
    site = BootSite(ReleaseStore(state), ServingPolicy.build(settings, (TOKEN,)))
    loop = asyncio.SelectorEventLoop()
    server = loop.run_until_complete(_build_server(state, site))
    logging.disable(logging.CRITICAL)
    broken: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: broken.append(context))
    return loop, server, broken


async def _build_server(root: Path, site: BootSite) -> HttpServer:
    return HttpServer(HttpSettings(root=root), listener=socket.socket(), access_check=site.check, router=site)


async def _answer(server: HttpServer, data: bytes) -> bytes:
    """What one connection answers to ``data``, which comes in two parts, and its end."""
    wire = Wire()
    make_inner = cast("Callable[[], asyncio.Protocol]", server._http)
    connection = wire.connection = Connection(make_inner, server._hooks, header_seconds=10)
    connection.connection_made(wire)
    half = len(data) // 2
    for part in (data[:half], data[half:]):
        if part and not wire.closing:
            connection.data_received(part)
            await asyncio.sleep(0)
    if not wire.closing:
        connection.eof_received()
    for _ in range(_TURNS):
        if wire.closing and connection.transport is None:
            break
        await asyncio.sleep(0)
    wire.close()
    await asyncio.sleep(0)
    assert connection.transport is None
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait({task}, timeout=5)
        assert task.done(), task
    return wire.written


def _judge(data: bytes, answer: bytes) -> None:
    found = list(_STATUS.finditer(answer))
    ends = [each.start() for each in found[1:]] + [len(answer)]
    for response, end in zip(found, ends, strict=False):
        status, body = int(response[1]), answer[response.end() : end]
        assert status in _EXPECTED, answer
        if status in (200, 206):
            assert _may_be_given(body, has_token=TOKEN.encode() in data), answer
    if TOKEN.encode() not in data:
        assert SECRET not in answer, answer
    # 100 Continue is the only thing that may stand before a response.
    assert bool(found) or answer in (b"", b"HTTP/1.1 100 Continue\r\n\r\n"), answer


def _may_be_given(body: bytes, *, has_token: bool) -> bool:
    if has_token or any(body in whole for whole in (KERNEL, FIRST, b"notes")):
        return True
    try:
        return json.loads(body)["status"] == "ok"
    except ValueError:
        return False
