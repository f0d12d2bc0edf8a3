"""Machines that boot from a boot server again and again, as scripts have iPXE do it: until each step is done.

They keep count of what the server has acknowledged to them, so that a test can look for it afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

_PAUSE_SECONDS = 0.1
_ANSWER_SECONDS = 60.0
# What a server says that is busy, or not whole yet: a script waits and asks again.
_AGAIN = frozenset({429, 503})
_PATH = re.compile(r"^set ec-path (\S+)$", re.MULTILINE)
_ARGUMENT = re.compile(r"\bevery_channel\.(report|release)=(\S+)")
_SYSTEM = re.compile(r"\binit=(\S+)/init\b")


class NodeFailedError(AssertionError):
    """A machine was told something that ends its boot."""


@dataclass
class Ledger:
    """What was acknowledged: hashes of tokens of boots whose script arrived whole, and whose last report was
    taken. ``answers``: status → how often; 0: none came, or not whole.
    """

    begun: set[str] = field(default_factory=set)
    reported: set[str] = field(default_factory=set)
    boots: Counter[str] = field(default_factory=Counter)
    answers: Counter[int] = field(default_factory=Counter)


@dataclass
class StormNode:
    """One machine. ``source`` is the address that it asks from: a share of the server's is each address's."""

    name: str
    mac: str
    source: str
    server: tuple[str, int]
    ledger: Ledger

    async def boot_until(self, ended: asyncio.Event) -> None:
        """Boot again and again; the boot that is under way when ``ended`` is set is brought to its end."""
        while True:
            await self._boot()
            self.ledger.boots[self.name] += 1
            if ended.is_set():
                return

    async def _boot(self) -> None:
        query = urlencode({"mac": self.mac, "uuid": "", "serial": "", "asset": "", "arch": "x86_64"})
        script = (await self._insist("GET", f"/netboot.ipxe?{query}")).decode()
        arguments = dict(_ARGUMENT.findall(script))
        report = urlsplit(arguments["report"])
        token = report.query.removeprefix("boot=")
        known = hashlib.sha256(token.encode()).hexdigest()
        self.ledger.begun.add(known)
        for path in _PATH.findall(script):
            await self._insist("GET", path)
        target = f"{report.path}?{report.query}"
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, ValueError):
            await self._ask("GET", f"{target}&stage=loaded")  # who is not heard boots all the same
        system = _SYSTEM.search(script)
        said = {"release": arguments["release"], "healthy": "yes"}
        said |= {} if system is None else {"system": system[1]}
        await self._insist("POST", target, body=urlencode({"stage": "running"}))
        await self._insist("POST", target, body=urlencode({"stage": "up", **said}))
        self.ledger.reported.add(known)

    async def _insist(self, method: str, target: str, *, body: str = "") -> bytes:
        """The answer, once there is a whole one. Raises NodeFailedError for one that no further try mends."""
        while True:
            try:
                status, content = await self._ask(method, target, body=body)
            except (OSError, asyncio.IncompleteReadError, ValueError):
                status, content = 0, b""
            self.ledger.answers[status] += 1
            if status == 200:
                return content
            if status not in {0, *_AGAIN}:
                raise NodeFailedError(
                    f"{self.name}: {method} {target.partition('?')[0]}: {status} {content!r}"
                )
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _ask(self, method: str, target: str, *, body: str = "") -> tuple[int, bytes]:
        """Status and content of an answer. Raises OSError, IncompleteReadError, ValueError: not whole."""
        async with asyncio.timeout(_ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection(*self.server, local_addr=(self.source, 0))
            try:
                form = f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n"
                head = f"{method} {target} HTTP/1.1\r\nHost: boot\r\nConnection: close\r\n"
                writer.write(f"{head}{form if method == 'POST' else ''}\r\n{body}".encode())
                await writer.drain()
                answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                length = re.search(r"^content-length: *(\d+)", answer, re.MULTILINE | re.IGNORECASE)
                content = await (reader.read() if length is None else reader.readexactly(int(length[1])))
                return int(answer.split(" ", 2)[1]), content
            finally:
                writer.close()
