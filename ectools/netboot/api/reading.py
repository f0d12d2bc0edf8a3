"""What is answered to whoever looks: nodes, boots, releases, what has happened, health and metrics."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from aiohttp import web

from ectools.errors import InputError
from ectools.netboot.api.answers import AbsentError, answer_json
from ectools.netboot.api.rows import (
    describe_boot,
    describe_event,
    describe_left_out,
    describe_node,
    describe_row,
    describe_staged,
    list_subjects,
)

if TYPE_CHECKING:
    from ectools.netboot.api.view import FleetView

MAX_BOOTS_SHOWN = 200
MAX_EVENTS_SHOWN = 1000
"""Of one answer."""
_HEALTH_HEADERS = {"Cache-Control": "no-cache"}


class Reading:
    """What is answered to those who look."""

    def __init__(self, view: FleetView) -> None:
        self._view = view
        self._listing = asyncio.Lock()

    def add_routes(self, app: web.Application) -> None:
        """The routes of those who look."""
        for path, handler in (
            ("/healthz", self._report_health),
            ("/metrics", self._show_metrics),
            ("/api/v1/nodes", self._list_nodes),
            ("/api/v1/nodes/{name:[^/]+}", self._show_node),
            ("/api/v1/nodes/{name:[^/]+}/boots", self._list_boots),
            ("/api/v1/boots/{id:[^/]+}", self._show_boot),
            ("/api/v1/releases", self._list_releases),
            ("/api/v1/log", self._list_events),
            ("/api/v1/hosts", self._list_hosts),
        ):
            app.router.add_get(path, handler)

    async def _report_health(self, _: web.Request) -> web.Response:
        fields = await self._view.health()
        status = 200 if fields["status"] == "ok" else 503
        body = json.dumps(fields).encode() + b"\n"
        headers = {"Content-Type": "application/json", **_HEALTH_HEADERS}
        return web.Response(status=status, body=body, headers=headers)

    async def _show_metrics(self, _: web.Request) -> web.Response:
        headers = {"Content-Type": "text/plain; version=0.0.4", **_HEALTH_HEADERS}
        return web.Response(body=self._view.metrics().encode(), headers=headers)

    async def _list_nodes(self, _: web.Request) -> web.Response:
        """In a thread, one after the other: many rows take a moment, in which nodes go on to boot."""
        releases = await self._view.releases.list()
        subjects, now = list_subjects(self._view), self._view.clock()
        others = {
            "left_out": describe_left_out(self._view.fleet),
            "reload_error": self._view.reload_error(),
        }

        def make() -> web.Response:
            rows = [describe_row(self._view, each, releases) for each in subjects]
            return answer_json({"nodes": rows, "now": now, **others})

        async with self._listing:
            return await asyncio.to_thread(make)

    async def _show_node(self, request: web.Request) -> web.Response:
        name = need_subject(self._view, request.match_info["name"])
        return answer_json(describe_node(self._view, name, await self._view.releases.list()))

    async def _list_boots(self, request: web.Request) -> web.Response:
        name = need_subject(self._view, request.match_info["name"])
        limit = _read_number(request, "limit", otherwise=20, most=MAX_BOOTS_SHOWN)
        boots = await self._view.boots.list_boots(name, limit=limit)
        return answer_json({"boots": [describe_boot(each) for each in boots]})

    async def _show_boot(self, request: web.Request) -> web.Response:
        boot = await self._view.boots.find(request.match_info["id"])
        if boot is None:
            raise AbsentError(f"{request.match_info['id'][:80]}: no such boot is remembered")
        return answer_json(describe_boot(boot))

    async def _list_releases(self, _: web.Request) -> web.Response:
        releases = await self._view.releases.list()
        return answer_json({"releases": [describe_staged(each) for each in releases]})

    async def _list_hosts(self, _: web.Request) -> web.Response:
        rows = await self._view.hosts()
        return answer_json({"hosts": list(rows), "now": self._view.clock()})

    async def _list_events(self, request: web.Request) -> web.Response:
        after = _read_number(request, "after", otherwise=0, most=1 << 62)
        limit = _read_number(request, "limit", otherwise=MAX_EVENTS_SHOWN, most=MAX_EVENTS_SHOWN)
        events = await self._view.store.events(after=after, limit=limit)
        return answer_json({"events": [describe_event(each) for each in events]})


def need_subject(view: FleetView, name: str) -> str:
    """The name of a node, or a machine that has booted and has none. Raises UnknownNodeError."""
    if name not in view.boots.latest:
        view.fleet.need(name)
    return name


def _read_number(request: web.Request, name: str, *, otherwise: int, most: int) -> int:
    text = request.query.get(name)
    if text is None:
        return otherwise
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise InputError(f"{name}: is no number: {text[:40]!r}")
    return min(int(text), most)
