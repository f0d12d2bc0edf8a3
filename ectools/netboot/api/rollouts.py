"""Rollouts, as they are shown and led: started, paused, resumed and ended by whoever may."""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, Any

from ectools.errors import InputError, show_list
from ectools.netboot.api.answers import answer_json
from ectools.netboot.api.bodies import read_json_body
from ectools.netboot.api.lacks import find_lack
from ectools.netboot.api.latecomers import find_latecomers
from ectools.netboot.api.releases import choose_staged
from ectools.netboot.api.rights import ForbiddenError
from ectools.netboot.fleet.assignment import LedRelease, assign
from ectools.netboot.fleet.live import ContradictionError
from ectools.netboot.fleet.model import NodeTarget
from ectools.netboot.rollout.decide import count_nodes, list_awaited, list_under_way
from ectools.netboot.rollout.model import Rollout, RolloutPlan, make_rollout_id
from ectools.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from aiohttp import web

    from ectools.netboot.api.releases import StagedRelease
    from ectools.netboot.api.rights import Rights
    from ectools.netboot.api.view import FleetView

_MAX_WAVES = 20
_MAX_COUNT = 10_000
_FIELDS = frozenset(
    {"group", "release", "canary", "waves", "max_failures", "within", "off_after", "unstaged_hosts"}
)


class RolloutRoutes:
    """What is answered of rollouts, and done by them. ``all_rights``: they are started here, too."""

    def __init__(self, view: FleetView, rights: Rights, *, all_rights: bool) -> None:
        self._view = view
        self._rights = rights
        self._rollouts = view.rollouts
        self._all_rights = all_rights

    def add_routes(self, app: web.Application) -> None:
        """The routes of rollouts."""
        path = "/api/v1/rollouts"
        app.router.add_get(path, self._list)
        app.router.add_get(f"{path}/{{group:[^/]+}}", self._show)
        app.router.add_post(path, self._start)
        turns: dict[str, Callable[..., Awaitable[Rollout]]] = {
            "pause": self._rollouts.pause,
            "resume": self._rollouts.resume,
            "abort": self._rollouts.abort,
        }
        for name, turn in turns.items():
            app.router.add_post(f"{path}/{{group:[^/]+}}/{name}", functools.partial(self._turn, turn))

    async def _list(self, _: web.Request) -> web.Response:
        staged = await self._view.releases.list()
        listed = [self._describe(each, staged) for _, each in sorted(self._rollouts.rollouts.items())]
        return answer_json({"rollouts": listed, "now": self._view.clock()})

    async def _show(self, request: web.Request) -> web.Response:
        return await self._answer(self._rollouts.need(request.match_info["group"]))

    async def _turn(self, turn: Callable[..., Awaitable[Rollout]], request: web.Request) -> web.Response:
        by = self._rights.require_user(request)
        return await self._answer(await turn(request.match_info["group"], by=by))

    async def _start(self, request: web.Request) -> web.Response:
        by = self._rights.require_user(request)
        if not self._all_rights:
            raise ForbiddenError("a rollout is started on the boot host (ectools rollout start)")
        body = await read_json_body(request)
        plan = await self._plan(body, by=by)
        tags = {each.id: each.tag for each in await self._view.releases.list()}

        def title(release_id: str) -> str:
            return tags.get(release_id) or release_id

        self._rollouts.check_start(plan, title=title)
        if not _read_flag(body, "unstaged_hosts"):
            self._check_hosts(plan, await self._view.hosts(), title)
        for release_id in (plan.target, plan.before):
            # Neither may be collected while nodes boot it.
            await self._view.pin(release_id)
        return await self._answer(await self._rollouts.start(plan), status=201)

    def _check_hosts(
        self, plan: RolloutPlan, hosts: Sequence[Mapping[str, Any]], title: Callable[[str], str]
    ) -> None:
        """Raises ContradictionError where a boot host that is up cannot serve what the group's nodes get.

        One that has more than it tells of may have it.
        """
        lacking = [
            f"{host['name']} has not staged {title(release_id)}"
            for host in hosts
            if host["up"] and not host["here"] and not host["left_out"]
            for release_id in (plan.target, plan.before)
            if release_id not in {each["id"] for each in host["releases"]}
        ]
        if lacking:
            raise ContradictionError(
                f"{plan.group}: {show_list(lacking, joint='; ')}",
                hint="stage it there (`ectools netboot stage --tag TAG`), which is heard of in seconds; or"
                " start with --unstaged-hosts: nodes that ask there go on with what they have",
            )

    async def _plan(self, body: Mapping[str, Any], *, by: str) -> RolloutPlan:
        unknown = sorted(set(body) - _FIELDS)
        if unknown:
            raise InputError(
                f"{show_list(unknown)}: no field of a rollout", hint=f"there are {show_list(_FIELDS)}"
            )
        group_name, wanted = body.get("group"), body.get("release")
        if not isinstance(group_name, str) or not isinstance(wanted, str):
            raise InputError("group and release have to be there, and to be text")
        groups = self._view.fleet.fleet.groups
        group = groups.get(group_name)
        if group is None:
            raise InputError(
                f"{group_name[:80]}: the fleet has no such group", hint=did_you_mean(group_name, groups)
            )
        staged = await self._view.releases.list(fresh=True)
        # A rollout that is done has left the group with another release than the fleet says.
        # Where that is staged no more, and nobody runs it, it goes back to what the fleet says.
        standing = self._rollouts.find_standing(group_name)
        is_there = standing is not None and (
            choose_staged(staged, standing) is not None or self._rollouts.is_run(group_name, standing)
        )
        now = standing if is_there else group.wanted
        target = _need_staged(staged, wanted)
        if group.system is not None and group.system not in target.systems:
            raise ContradictionError(
                f"{group_name}: its system is {group.system}, which {target.tag or target.id} has not",
                hint=f"it has {show_list(target.systems)}; nodes that were led there would wait",
            )
        self._check_installs(group_name, target)
        base_id = None if group.channel is None else _need_staged(staged, group.wanted).id
        counter = None
        if base_id is not None and group.wanted is not None:
            counter = await self._rollouts.count_channel(group.wanted, base_id)
        return RolloutPlan(
            id=make_rollout_id(),
            group=group_name,
            target=target.id,
            before=_need_staged(staged, now).id,
            canary=_read_count(body, "canary", least=1),
            waves=_read_waves(body.get("waves", [5, 25, 100])),
            max_failures=_read_count(body, "max_failures", least=0),
            within=_read_number(body, "within", default=group.healthy_within, least=1, most=86400),
            off_after=_read_number(body, "off_after", default=86400, least=1, most=365 * 86400),
            at=self._view.clock(),
            by=by,
            base=group.wanted,
            base_id=base_id,
            base_counter=counter,
        )

    def _check_installs(self, group_name: str, target: StagedRelease) -> None:
        """Raises ContradictionError where a node is to be installed by what the release has not."""
        live, led = self._view.fleet, LedRelease(id=target.id, origin="")
        for node in live.fleet.nodes.values():
            boot = node.boot or live.fleet.groups[group_name].boot
            if node.group != group_name or boot is not NodeTarget.INSTALL:
                continue
            assignment = assign(live.fleet, node, live.get_override(node.name), led)
            if (lack := find_lack(assignment, target)) is not None:
                raise ContradictionError(f"{group_name}: {node.name} would wait: {lack}")

    async def _answer(self, rollout: Rollout, *, status: int = 200) -> web.Response:
        return answer_json(self._describe(rollout, await self._view.releases.list()), status=status)

    def _describe(self, rollout: Rollout, staged: Sequence[StagedRelease]) -> dict[str, Any]:
        plan, known = rollout.plan, self._rollouts.know(rollout)
        tags = {each.id: each.tag for each in staged}
        reckoned = count_nodes(rollout, known)
        return {
            "id": plan.id,
            "group": plan.group,
            "release": {"id": plan.target, "tag": tags.get(plan.target)},
            "before": {"id": plan.before, "tag": tags.get(plan.before)},
            "state": rollout.state.value,
            "why": rollout.why,
            "by": plan.by,
            "started": plan.at,
            "ended": rollout.ended,
            "wave": rollout.wave,
            "waves": [plan.quota(wave, reckoned) for wave in range(plan.last_wave + 1)],
            "max_failures": plan.max_failures,
            "nodes": len(known.nodes),
            "taken": len(rollout.taken),
            "healthy": sorted(rollout.healthy),
            "failed": [{"node": node, "why": why} for node, why in rollout.failed.items()],
            "under_way": list_under_way(rollout, known),
            "awaited": [] if rollout.has_ended else list_awaited(rollout, known),
            "later": find_latecomers(rollout, known.nodes, self._view.boots.latest).describe(),
        }


def _need_staged(staged: Sequence[StagedRelease], wanted: str | None) -> StagedRelease:
    found = choose_staged(staged, wanted)
    if found is None:
        known = [each.tag or each.id for each in staged]
        what = "the current release" if wanted is None else wanted[:80]
        hint = did_you_mean(wanted or "", known) or f"staged are: {show_list(known)}"
        raise ContradictionError(f"{what}: is not staged here", hint=hint)
    return found


def _read_flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name, False)
    if not isinstance(value, bool):
        raise InputError(f"{name}: true or false was expected")
    return value


def _read_count(body: Mapping[str, Any], name: str, *, least: int) -> int:
    """A number of nodes, 1 where none is given."""
    value = body.get(name, 1)
    if type(value) is not int or not least <= value <= _MAX_COUNT:
        raise InputError(f"{name}: a whole number from {least} to {_MAX_COUNT} was expected")
    return value


def _read_number(body: Mapping[str, Any], name: str, *, default: float, least: float, most: float) -> float:
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise InputError(f"{name}: a number from {least} to {most} was expected")
    return value


def _read_waves(raw: Any) -> tuple[float, ...]:
    """Percentages that grow to 100."""
    is_list = isinstance(raw, list) and 0 < len(raw) <= _MAX_WAVES
    # Held against numbers, and not made into a float: an integer may be larger than any.
    if not is_list or not all(type(each) in (int, float) and 0 <= each <= 100 for each in raw):
        raise InputError(f"waves: at most {_MAX_WAVES} percentages were expected, as 5, 25, 100")
    waves = tuple(float(each) for each in raw)
    if waves[0] <= 0 or waves[-1] != 100 or any(low >= high for low, high in itertools.pairwise(waves)):
        raise InputError("waves: percentages that grow, the last of them 100, were expected, as 5, 25, 100")
    return waves
