"""What is changed by whoever may: nodes are held and released, boot once, are added and removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from ectools.errors import InputError, show_list
from ectools.netboot.api.answers import answer_json
from ectools.netboot.api.bodies import read_json_body
from ectools.netboot.api.lacks import LackingReleaseError, check_release
from ectools.netboot.api.releases import choose_staged
from ectools.netboot.api.rights import ForbiddenError
from ectools.netboot.api.rows import describe_node
from ectools.netboot.fleet.assignment import assign
from ectools.netboot.fleet.live import ContradictionError
from ectools.netboot.fleet.model import NodeTarget
from ectools.netboot.fleet.override import ONCE_TARGETS, BootOnce, NodeOverride, check_why
from ectools.suggest import did_you_mean

if TYPE_CHECKING:
    from ectools.netboot.api.rights import Rights
    from ectools.netboot.api.view import FleetView

MAX_BODY_BYTES = 64 << 10
"""Of a request that changes something."""


class Changing:
    """What is done for those who may change something.

    ``all_rights``: the fleet itself too, and not only what a node boots next.
    """

    def __init__(self, view: FleetView, rights: Rights, *, all_rights: bool) -> None:
        self._view = view
        self._rights = rights
        self._all_rights = all_rights

    def add_routes(self, app: web.Application) -> None:
        """The routes of those who change something."""
        for path, handler in (
            ("/api/v1/nodes/{name:[^/]+}/hold", self._hold),
            ("/api/v1/nodes/{name:[^/]+}/release", self._release),
            ("/api/v1/nodes/{name:[^/]+}/boot-once", self._boot_once),
            ("/api/v1/nodes", self._add),
        ):
            app.router.add_post(path, handler)
        app.router.add_delete("/api/v1/nodes/{name:[^/]+}", self._remove)

    async def _hold(self, request: web.Request) -> web.Response:
        by, body = await self._read_change(request, "why")
        name = request.match_info["name"]
        await hold_node(self._view, name, by=by, why=body.get("why"))
        return await self._answer_node(name)

    async def _release(self, request: web.Request) -> web.Response:
        by, _ = await self._read_change(request)
        name = request.match_info["name"]
        await self._view.fleet.release(name, by=by)
        return await self._answer_node(name)

    async def _boot_once(self, request: web.Request) -> web.Response:
        by, body = await self._read_change(request, "boot", "release")
        name = request.match_info["name"]
        boot = body.get("boot") or NodeTarget.NETWORK.value
        release, rights = body.get("release"), self._all_rights
        await boot_node_once(self._view, name, by=by, boot=boot, release=release, all_rights=rights)
        return await self._answer_node(name)

    async def _add(self, request: web.Request) -> web.Response:
        by = self._require_all(request)
        body = await read_json_body(request)
        name, node = body.get("name"), body.get("node")
        if not isinstance(name, str) or not isinstance(node, dict) or len(body) != 2:
            raise InputError("the body is not {name, node}, the node as a fleet file has it")
        await self._view.fleet.add(name, node, by=by)
        return await self._answer_node(name, status=201)

    async def _remove(self, request: web.Request) -> web.Response:
        by = self._require_all(request)
        await self._view.fleet.remove(request.match_info["name"], by=by)
        return web.Response(status=204)

    def _require_all(self, request: web.Request) -> str:
        by = self._rights.require_user(request)
        if not self._all_rights:
            raise ForbiddenError(
                "nodes are added and removed over the control socket alone",
                hint="use ectools fleet on the boot host",
            )
        return by

    async def _answer_node(self, name: str, *, status: int = 200) -> web.Response:
        releases = await self._view.releases.list()
        return answer_json(describe_node(self._view, name, releases), status=status)

    async def _read_change(self, request: web.Request, *names: str) -> tuple[str, dict[str, str | None]]:
        """Who asks, and the fields of the body, each text or missing. Raises ForbiddenError, InputError."""
        by = self._rights.require_user(request)
        body = await read_json_body(request)
        others = sorted(set(body) - set(names))
        if others:
            hint = f"there are: {', '.join(names) or 'none'}"
            raise InputError(f"{others[0][:40]}: is no field of this", hint=hint)
        for name, value in body.items():
            if value is not None and not isinstance(value, str):
                raise InputError(f"{name}: is not a text")
        return by, body


async def hold_node(view: FleetView, name: str, *, by: str, why: str | None) -> None:
    """A node boots nothing until it is released. Raises EcError."""
    if why is not None:
        check_why(why)
    await view.fleet.hold(name, by=by, why=why or None)


async def boot_node_once(
    view: FleetView, name: str, *, by: str, boot: str, release: str | None, all_rights: bool = False
) -> None:
    """A node boots this once. Raises EcError, also where the release is not staged, or has nothing for it."""
    if boot not in ONCE_TARGETS:
        raise InputError(f"boot: is {boot[:40]!r}", hint=f"one of {', '.join(ONCE_TARGETS)}")
    if boot == NodeTarget.INSTALL and not all_rights:
        raise ForbiddenError(
            "a disk is written to by order over the control socket alone",
            hint="use ectools fleet boot-once on the boot host",
        )
    node, target = view.fleet.need(name), NodeTarget(boot)
    staged = await view.releases.list(fresh=True)
    if release is not None and choose_staged(staged, release) is None:
        known = [each.tag or each.id for each in staged]
        hint = did_you_mean(release, known) or f"staged are: {show_list(known)}"
        raise ContradictionError(f"{release[:80]}: is not staged here", hint=hint)
    once = NodeOverride(once=BootOnce(boot=target, release=release, at=view.clock(), by=by))
    assignment = assign(view.fleet.fleet, node, once, view.fleet.lead(node))
    found = choose_staged(staged, assignment.release)
    try:
        if found is not None:
            check_release(assignment, found)
    except LackingReleaseError as error:
        raise ContradictionError(f"{name} would wait: {error.message}", hint=error.hint) from error
    await view.fleet.boot_once(name, target, by=by, release=release)
