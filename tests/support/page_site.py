"""The page at an address, for a browser: the fleet's application on a loop of its own, in a thread."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

from aiohttp import web
from support.fleet_api import Api, FixedReleases
from support.page_samples import IDS, NEW, OLD

from ectools.netboot.api.app import build_app
from ectools.netboot.api.page.routes import mount_page
from ectools.netboot.api.releases import StagedRelease

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import TypeVar

    from ectools.netboot.api.page.facts import FleetFacts
    from ectools.netboot.boots.model import NodeBoot

    _T = TypeVar("_T")


class PageSite:
    """A fleet's page at ``url``, with the access token of ``Api``. ``close`` stops it for good."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._runner: web.AppRunner | None = None
        self._hub: asyncio.Task[None] | None = None
        self.api: Api = self.run(_make_api({}, (), {}))
        self.port = 0
        self.open()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """What a coroutine gives, run where the server runs."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def do(self, work: Callable[[], _T]) -> _T:
        """Likewise, of a function."""

        async def call() -> _T:
            return work()

        return self.run(call())

    def show(self, facts: FleetFacts) -> None:
        """Another fleet, from now on."""
        known = [node for node in facts.nodes if node.is_known]
        document = {
            "groups": {
                group: {"release": NEW, "kernelArguments": ["console=ttyS0"]}
                for group in sorted({node.group for node in known if node.group})
            },
            "nodes": {
                node.subject: {
                    "group": node.group,
                    "match": {"mac": [node.known_by[0].removeprefix("mac ")]},
                    "hold": node.hold is not None,
                }
                for node in known
            },
        }
        boots = {node.subject: node.boot for node in facts.nodes if node.boot is not None}
        tags = ((NEW, "current"), (OLD, "previous"))
        self.close_listener()
        self.api = self.run(_make_api(document, [(tag, mark, facts.now) for tag, mark in tags], boots))
        self.open()

    def note(self, boot: NodeBoot) -> None:
        """A boot has changed."""
        self.do(lambda: self.api.boots.note(boot))

    def open(self) -> None:
        """Listen, at the port of before."""
        self.run(self._open())

    async def _open(self) -> None:
        app = build_app(self.api.view, self.api.token_rights, self.api.hub, mount=[mount_page])
        self._hub = asyncio.create_task(self.api.hub.run())
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    def close_listener(self) -> None:
        """Nobody answers any more, until ``open``."""
        self.run(self._close())

    async def _close(self) -> None:
        if self._runner is not None and self._hub is not None:
            self.api.hub.close()
            self._hub.cancel()
            await asyncio.wait({self._hub})
            await self._runner.cleanup()
            self._runner = self._hub = None

    def close(self) -> None:
        self.close_listener()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _make_api(document: dict[str, Any], tags: Any, boots: dict[str, NodeBoot]) -> Api:
    releases = [
        StagedRelease(
            id=IDS[tag], tag=tag, systems=(), staged_at=int(now) - 260_000, size=300_000_000, marks=(mark,)
        )
        for tag, mark, now in tags
    ]
    # The browser has a clock of its own, and the page shows ages.
    api = Api(releases=FixedReleases(*releases), document=document, now=time.time())
    for boot in boots.values():
        api.boots.note(boot)
    return api
