"""The page's routes: mounted into the application of a listener, beside the JSON API.

A page is made in a thread, one at a time: a thousand rows take a moment, in which nodes go on to boot.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections import Counter
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from aiohttp import web

from ectools.errors import EcError, InputError
from ectools.netboot.api.answers import find_status
from ectools.netboot.api.bodies import read_form
from ectools.netboot.api.changing import boot_node_once, hold_node
from ectools.netboot.api.page import render
from ectools.netboot.api.page.filters import parse_filter
from ectools.netboot.api.page.render import PageUnavailableError, Viewer
from ectools.netboot.api.page.rows import build_fleet_page
from ectools.netboot.api.page.source import find_detail, list_facts, list_rollouts
from ectools.netboot.api.page.strips import MAX_STRIPS, build_node_page
from ectools.netboot.api.rights import COOKIE, TokenRights, check_origin, set_cookie
from ectools.netboot.api.unstaged import find_unstaged, list_group_releases
from ectools.netboot.http.slots import share_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from ectools.netboot.api.page.facts import FleetFacts
    from ectools.netboot.api.page.rows import FleetPage
    from ectools.netboot.api.rights import Rights
    from ectools.netboot.api.view import FleetView

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_T = TypeVar("_T")

MAX_NAMES = 64
"""Rows that are asked for by name in one request."""
_MAX_WAITING = 32
# Of one address, so that it leaves a place to others.
_MAX_WAITING_EACH = 24
_FEW_BOOTS = 20
_KEPT = "public, max-age=31536000, immutable"


class TooManyPagesError(EcError):
    """More ask for a page than one after the other can be given one."""


def mount_page(app: web.Application, view: FleetView, rights: Rights) -> None:
    """Add the page to an application."""
    page = _Page(view, rights)
    for path, look in (
        ("/", page.show_fleet),
        ("/rows", page.show_rows),
        ("/nodes/{name:[^/]+}", page.show_node),
        ("/sign-in", page.show_sign_in),
    ):
        app.router.add_get(path, page.answer(look))
    app.router.add_get("/assets/{version}/{name}", _send_asset)
    for path, act in (
        ("/nodes/{name:[^/]+}/hold", page.hold),
        ("/nodes/{name:[^/]+}/release", page.release),
        ("/nodes/{name:[^/]+}/boot-once", page.boot_once),
        *((f"/rollouts/{{group:[^/]+}}/{turn}", page.lead(turn)) for turn in ("pause", "resume", "abort")),
        ("/sign-in", page.sign_in),
        ("/sign-out", page.sign_out),
    ):
        app.router.add_post(path, page.answer(act))


class _Page:
    """What is answered at one listener."""

    def __init__(self, view: FleetView, rights: Rights) -> None:
        self._view = view
        self._rights = rights
        self._making = asyncio.Lock()
        self._waiting: Counter[str] = Counter()

    def answer(self, handler: Handler) -> Handler:
        """A handler whose errors are pages too."""

        @functools.wraps(handler)
        async def answer(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(request)
            except PageUnavailableError as error:
                return web.Response(status=503, text=f"{error.render()}\n")
            except TooManyPagesError as error:
                return web.Response(status=503, text=f"{error.render()}\n", headers={"Retry-After": "5"})
            except EcError as error:
                words = error.message if error.hint is None else f"{error.message} ({error.hint})"
                status = find_status(error)
                html = render.render_message(_HEADINGS.get(status, "That did not work"), words, Viewer())
                return _send(html, status=status)

        return answer

    async def show_fleet(self, request: web.Request) -> web.StreamResponse:
        """The browser loads the page's files while the nodes are looked at, and paints what a screen shows
        while a thousand rows more are made.
        """
        viewer, beginning = self._look(request), render.render_beginning()
        with self._wait(request):
            # What can fail comes before the first byte.
            facts = await self._gather()
            answer = web.StreamResponse(headers=_HEADERS)
            try:
                if request.method != "HEAD":
                    await answer.prepare(request)
                    await answer.write(beginning.encode())
                page = await self._find_page(request, facts)
                parts = render.render_fleet(page, viewer)
                first = await self._make(lambda: next(parts))
                if request.method == "HEAD":
                    return _send(beginning + first + await self._make(lambda: next(parts)))
                await answer.write(first.encode())
                rest = await self._make(lambda: next(parts))
            except Exception:
                # What has begun cannot become the page of an error any more.
                if answer.prepared and request.transport is not None:
                    request.transport.abort()
                raise
        # Whoever reads slowly holds up nobody: it is all in the connection's own buffer. Who reads nothing at
        # all is let go by that (``connections``), and does not keep its place above either.
        await answer.write_eof(rest.encode())
        return answer

    async def show_rows(self, request: web.Request) -> web.Response:
        names, viewer = frozenset(request.query.getall("name", [])[:MAX_NAMES]), self._look(request)
        with self._wait(request):
            page = await self._find_page(request, await self._gather(), names=names)
            return _send(await self._make(lambda: render.render_rows(page, viewer)))

    async def show_node(self, request: web.Request) -> web.Response:
        viewer = self._look(request)
        limit = MAX_STRIPS if request.query.get("boots") == str(MAX_STRIPS) else _FEW_BOOTS
        with self._wait(request):
            detail = await find_detail(self._view, request.match_info["name"], limit=limit)
            more = limit == _FEW_BOOTS and len(detail.boots) == limit
            return _send(
                await self._make(lambda: render.render_node(build_node_page(detail, more=more), viewer))
            )

    @contextlib.contextmanager
    def _wait(self, request: web.Request) -> Iterator[None]:
        """One who is given a page, of as many as there may be. Raises TooManyPagesError."""
        share = share_of(request.remote or "")
        if self._waiting.total() >= _MAX_WAITING or self._waiting[share] >= _MAX_WAITING_EACH:
            raise TooManyPagesError("many look at this page right now", hint="come again in a moment")
        self._waiting[share] += 1
        try:
            yield
        finally:
            self._waiting[share] -= 1
            if not self._waiting[share]:
                del self._waiting[share]

    async def _make(self, make: Callable[[], _T]) -> _T:
        """What ``make`` gives: in a thread, and one after the other."""
        async with self._making:
            return await asyncio.to_thread(make)

    async def _gather(self) -> Callable[[], FleetFacts]:
        """What finds the facts of the fleet as it is now. Raises EcError where no releases can be read."""
        releases, latest = await self._view.releases.list(), dict(self._view.boots.latest)
        wanted = list_group_releases(self._view.fleet.fleet, self._view.rollouts.find_led)
        return functools.partial(
            list_facts,
            self._view.fleet,
            latest,
            releases,
            now=self._view.clock(),
            rollouts=list_rollouts(self._view.rollouts, latest, releases),
            unstaged=find_unstaged(wanted, releases),
            reload_error=self._view.reload_error(),
        )

    async def _find_page(
        self,
        request: web.Request,
        find_facts: Callable[[], FleetFacts],
        *,
        names: frozenset[str] | None = None,
    ) -> FleetPage:
        wanted = parse_filter(request.query)
        return await self._make(lambda: build_fleet_page(find_facts(), wanted, names=names))

    async def show_sign_in(self, request: web.Request) -> web.Response:
        return _send(render.render_sign_in(self._look(request)))

    async def hold(self, request: web.Request) -> web.Response:
        by, form = self._rights.require_user(request), await read_form(request)
        await hold_node(self._view, request.match_info["name"], by=by, why=form.get("why") or None)
        return _go_to_node(request)

    async def release(self, request: web.Request) -> web.Response:
        by, _ = self._rights.require_user(request), await read_form(request)
        await self._view.fleet.release(request.match_info["name"], by=by)
        return _go_to_node(request)

    async def boot_once(self, request: web.Request) -> web.Response:
        by, form = self._rights.require_user(request), await read_form(request)
        # One choice of the form: a target, or `release TAG`, which is booted over the network.
        boot, _, release = form.get("boot", "").partition(" ")
        target = "network" if boot == "release" else boot
        name = request.match_info["name"]
        await boot_node_once(self._view, name, by=by, boot=target, release=release or None)
        return _go_to_node(request)

    def lead(self, name: str) -> Handler:
        """What pauses, resumes or ends a rollout."""
        rollouts = self._view.rollouts
        turn = {"pause": rollouts.pause, "resume": rollouts.resume, "abort": rollouts.abort}[name]

        async def lead(request: web.Request) -> web.StreamResponse:
            by, _ = self._rights.require_user(request), await read_form(request)
            await turn(request.match_info["group"], by=by)
            return _go_to("/")

        return lead

    async def sign_in(self, request: web.Request) -> web.Response:
        token = (await read_form(request)).get("token", "")
        if not isinstance(self._rights, TokenRights):
            raise InputError("nobody signs in here")
        await self._rights.wait_turn(request)
        cookie = self._rights.sign_in(request, token.strip())
        answer = _go_to("/")
        set_cookie(answer, cookie)
        return answer

    async def sign_out(self, request: web.Request) -> web.Response:
        check_origin(request)
        answer = _go_to("/")
        answer.del_cookie(COOKIE, path="/")
        return answer

    def _look(self, request: web.Request) -> Viewer:
        may_sign_in = self._rights.may_sign_in
        return Viewer(
            may_act=self._rights.find_user(request) is not None,
            may_sign_in=may_sign_in,
            host=self._view.title,
        )


_HEADERS = {"Content-Security-Policy": render.POLICY, "Content-Type": "text/html; charset=utf-8"}
_HEADINGS = {403: "Not allowed", 404: "Not found", 409: "It contradicts the fleet", 429: "Too often"}


def _send(html: str, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=html.encode(), headers=_HEADERS)


def _go_to(path: str) -> web.Response:
    """See there (RFC 9110, section 15.4.4): a reload asks for nothing a second time."""
    return web.Response(status=303, headers={"Location": path})


def _go_to_node(request: web.Request) -> web.Response:
    return _go_to(f"/nodes/{quote(request.match_info['name'], safe='')}")


async def _send_asset(request: web.Request) -> web.Response:
    name = request.match_info["name"]
    if name not in render.ASSETS:
        raise web.HTTPNotFound
    headers = {"Content-Type": render.ASSETS[name]}
    # Of another version, which a page of before asks for: right for now, and not to be kept.
    if request.path == f"{render.find_assets_path()}/{name}":
        headers["Cache-Control"] = _KEPT
    return web.Response(body=render.load_asset(name), headers=headers)
