"""The application: what is answered at one listener, by the rights of those who ask there."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from aiohttp import web

from ectools.netboot.api.answers import add_headers, make_error_answers
from ectools.netboot.api.changing import MAX_BODY_BYTES, Changing
from ectools.netboot.api.connections import mark_busy
from ectools.netboot.api.events import EventHub, add_events
from ectools.netboot.api.hosts import check_hosts
from ectools.netboot.api.reading import Reading
from ectools.netboot.api.rights import SocketRights
from ectools.netboot.api.rollouts import RolloutRoutes
from ectools.timers import Guard

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aiohttp.typedefs import Middleware

    from ectools.netboot.api.hosts import KnownHosts
    from ectools.netboot.api.rights import Rights
    from ectools.netboot.api.view import FleetView

    Mount = Callable[[web.Application, FleetView, Rights], None]


def build_app(
    view: FleetView,
    rights: Rights,
    hub: EventHub,
    *,
    hosts: KnownHosts | None = None,
    mount: Sequence[Mount] = (),
    faults: Guard | None = None,
) -> web.Application:
    """The application of one listener. Each of ``mount`` adds routes of its own, as the page does.

    ``hosts`` None: it is asked for by no name, as a socket in the file system is. ``faults`` is told of each
    fault of this program.
    """
    faults = faults or make_faults()
    middlewares: list[Middleware] = [mark_busy, make_error_answers(faults)]
    if hosts is not None:
        middlewares.append(check_hosts(hosts))
    middlewares.append(_make_turns(rights))
    app = web.Application(middlewares=middlewares, client_max_size=MAX_BODY_BYTES)
    app.on_response_prepare.append(add_headers)
    Reading(view).add_routes(app)
    Changing(view, rights, all_rights=isinstance(rights, SocketRights)).add_routes(app)
    RolloutRoutes(view, rights, all_rights=isinstance(rights, SocketRights)).add_routes(app)
    add_events(app, view, hub)
    for add in mount:
        add(app, view, rights)
    return app


def make_faults() -> Guard:
    """The guard of what answers here."""
    return Guard("the fleet's API", clock=time.monotonic)


def _make_turns(rights: Rights) -> Middleware:
    """A middleware in which who sends a token waits for its turn, where it has one to wait for."""

    @web.middleware
    async def take_turns(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if "Authorization" in request.headers:
            await rights.wait_turn(request)
        return await handler(request)

    return take_turns
