"""Rollouts over the API: started, led by boots, stopped, and what each answer looks like."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from aiohttp import web
from support.fleet_api import CURRENT, FLEET, NOW, PREVIOUS, TOKEN, Api, FixedReleases, make_boot, make_host

from ectools.netboot.api.page.source import list_rollouts
from ectools.netboot.api.rollouts import RolloutRoutes
from ectools.netboot.boots.model import BootState, NodeStage
from ectools.netboot.fleet.live import LiveFleet
from ectools.netboot.rollout.live import LiveRollouts
from ectools.netboot.state.interface import StateError
from ectools.schemas import schemas_directory

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp.test_utils import TestClient

# What the group boots is named: else it boots the current release already.
NAMED: dict[str, Any] = {
    **FLEET,
    "groups": {**FLEET["groups"], "runners": {**FLEET["groups"]["runners"], "release": "boot-v1"}},
}
START = {"group": "runners", "release": "boot-v2", "waves": [100], "max_failures": 0}
SAME = {"Authorization": f"Bearer {TOKEN}"}


def say_of_runners(api: Api, options: dict[str, Any]) -> None:
    """The group has these, too, and does not follow the current release."""
    runners = {**NAMED["groups"]["runners"], **options}
    api.document = {**NAMED, "groups": {**NAMED["groups"], "runners": runners}}
    api.rebase()


def run(scenario: Callable[[TestClient[Any, Any], Api], Awaitable[None]], *, token: bool = False) -> Api:
    api = Api(document=NAMED)

    async def main() -> None:
        async with api.serve(api.token_rights if token else None) as client:
            await scenario(client, api)

    asyncio.run(main())
    return api


async def ask(client: TestClient[Any, Any], method: str, path: str, body: Any = None) -> tuple[int, Any]:
    answer = await client.request(method, f"/api/v1/{path}", json=body)
    return answer.status, await answer.json()


def check(value: Any) -> None:
    document = json.loads((schemas_directory() / "api" / "rollout.json").read_text())
    jsonschema.Draft202012Validator(document).validate(value)


def end(api: Api, node: str, state: BootState, **fields: Any) -> None:
    """A boot of the new release that a node has ended so."""
    api.now += 1
    stages = {NodeStage.SCRIPT: api.now}
    boot = make_boot(node, id=f"{node}-{api.now}", stages=stages, state=state, ended=api.now, **fields)
    api.boots.note(boot)
    api.rollouts.see(boot)


async def lead_to_the_end(client: TestClient[Any, Any], api: Api) -> None:
    """A rollout of which all are healthy."""
    await ask(client, "POST", "rollouts", {**START, "waves": [100], "canary": 2})
    for node in ("nuc-07", "nuc-08"):
        await api.rollouts.offer("runners", node)
        end(api, node, BootState.HEALTHY)
    for _ in range(3):
        await api.rollouts.turn()


def find_next(api: Api, node: str) -> str | None:
    return api.fleet.assign(api.fleet.need(node)).release


def test_a_good_release_goes_from_the_canary_to_all() -> None:
    async def scenario(client: TestClient[Any, Any], api: Api) -> None:
        status, started = await ask(client, "POST", "rollouts", START)
        assert status == 201
        check(started)
        assert (started["waves"], started["nodes"], started["wave"]) == ([1, 2], 2, 0)
        assert api.pinned == [CURRENT.id, PREVIOUS.id]
        assert find_next(api, "nuc-07") == PREVIOUS.id
        await api.rollouts.offer("runners", "nuc-07")
        await api.rollouts.offer("runners", "nuc-08")
        assert (find_next(api, "nuc-07"), find_next(api, "nuc-08")) == (CURRENT.id, PREVIOUS.id)
        end(api, "nuc-07", BootState.HEALTHY)
        await api.rollouts.turn()
        await api.rollouts.offer("runners", "nuc-08")
        end(api, "nuc-08", BootState.HEALTHY)
        await api.rollouts.turn()
        await api.rollouts.turn()
        _, found = await ask(client, "GET", "rollouts/runners")
        check(found)
        assert (found["state"], found["healthy"]) == ("done", ["nuc-07", "nuc-08"])
        assert found["release"] == {"id": CURRENT.id, "tag": "boot-v2"}

    api = run(scenario)
    assert [each.kind for each in api.store.log] == ["rollout-started", "rollout-wave", "rollout-done"]
    assert api.withdrawn == []


def test_a_bad_release_is_stopped_withdrawn_and_goes_back() -> None:
    async def scenario(client: TestClient[Any, Any], api: Api) -> None:
        await ask(client, "POST", "rollouts", START)
        await api.rollouts.offer("runners", "nuc-07")
        end(api, "nuc-07", BootState.UNHEALTHY, why="a.service has failed")
        await api.rollouts.turn()
        _, found = await ask(client, "GET", "rollouts/runners")
        check(found)
        assert found["state"] == "stopped"
        assert found["under_way"] == []
        assert found["why"] == "1 node has failed (nuc-07: a.service has failed)"
        assert find_next(api, "nuc-07") == find_next(api, "nuc-08") == PREVIOUS.id
        # Another may follow, and begins anew.
        status, again = await ask(client, "POST", "rollouts", START)
        assert (status, again["state"], again["failed"]) == (201, "running", [])

    api = run(scenario)
    assert api.withdrawn == [CURRENT.id]


def test_the_next_one_begins_and_goes_back_where_the_last_one_has_led() -> None:
    async def scenario(_: TestClient[Any, Any], api: Api) -> None:
        newer = replace(CURRENT, id=f"sha256-{'c' * 32}", tag="boot-v3")
        api.releases = FixedReleases(newer, CURRENT, PREVIOUS)
        api.view = replace(api.view, releases=api.releases)
        async with api.serve() as client:
            await lead_to_the_end(client, api)
            assert (await ask(client, "POST", "rollouts", START))[0] == 409  # it is there already
            status, started = await ask(client, "POST", "rollouts", {**START, "release": "boot-v3"})
            assert (status, started["before"]["tag"]) == (201, "boot-v2")
            # The fleet's own words are of the release before both.
            assert find_next(api, "nuc-08") == CURRENT.id
            await ask(client, "POST", "rollouts/runners/abort")
            assert find_next(api, "nuc-07") == CURRENT.id
            # From there back to what the fleet says, by waves too.
            _, back = await ask(client, "POST", "rollouts", {**START, "release": "boot-v1"})
            assert (back["before"]["tag"], back["release"]["tag"]) == ("boot-v2", "boot-v1")

    run(scenario)


def test_where_the_last_one_has_led_is_not_staged_any_more() -> None:
    """A group that was gone for a while comes back: it goes back to what the fleet says, but not past all
    waves from what its nodes run.
    """

    async def scenario(_: TestClient[Any, Any], api: Api) -> None:
        newer = replace(CURRENT, id=f"sha256-{'c' * 32}", tag="boot-v3")
        async with api.serve() as client:
            await lead_to_the_end(client, api)
        api.releases = FixedReleases(newer, PREVIOUS)
        api.view = replace(api.view, releases=api.releases)
        async with api.serve() as client:
            refused = await ask(client, "POST", "rollouts", {**START, "release": "boot-v3"})
            assert refused[0] == 409
            for node in ("nuc-07", "nuc-08"):
                end(api, node, BootState.HEALTHY, release=PREVIOUS.id)
            status, started = await ask(client, "POST", "rollouts", {**START, "release": "boot-v3"})
            assert (status, started["before"]["tag"]) == (201, "boot-v1")

    run(scenario)


def test_waves_are_shown_as_they_are_decided_by() -> None:
    """Who has a place counts, also while it is held."""

    async def scenario(client: TestClient[Any, Any], api: Api) -> None:
        await ask(client, "POST", "rollouts", {**START, "canary": 2})
        await api.rollouts.offer("runners", "nuc-07")
        await api.fleet.hold("nuc-07", by=None)
        _, shown = await ask(client, "GET", "rollouts/runners")
        assert (shown["waves"], shown["nodes"], shown["taken"]) == ([2, 2], 1, 1)
        assert list_rollouts(api.rollouts, {}, api.releases.releases)[0].waves == [2, 2]

    run(scenario)


def test_a_group_that_follows_a_channel_goes_back_to_what_that_has_led_to() -> None:
    led = replace(PREVIOUS, marks=("channel:stable",))
    api = Api(
        releases=FixedReleases(CURRENT, led),
        document={**FLEET, "groups": {"runners": {"channel": "stable"}, "installed": {"boot": "disk"}}},
    )

    async def count(channel: str, release: str) -> int:
        assert (channel, release) == ("channel:stable", PREVIOUS.id)
        return 7

    api.rollouts.count_channel = count

    async def scenario() -> None:
        async with api.serve() as client:
            _, started = await ask(client, "POST", "rollouts", START)
            assert started["before"]["tag"] == "boot-v1"
            assert api.rollouts.need("runners").plan.base_counter == 7
            await api.rollouts.offer("runners", "nuc-07")
            assert (find_next(api, "nuc-07"), find_next(api, "nuc-08")) == (CURRENT.id, PREVIOUS.id)
            await ask(client, "POST", "rollouts/runners/abort")
            await api.rollouts.turn()
            assert find_next(api, "nuc-07") == PREVIOUS.id
            assert api.rollouts.find_standing("runners") == PREVIOUS.id

    asyncio.run(scenario())


def test_a_channel_that_is_moved_after_a_rollout_is_followed_again() -> None:
    def stage(api: Api, *marks: tuple[str, ...]) -> None:
        newer = replace(CURRENT, id=f"sha256-{'c' * 32}", tag="boot-v3", staged_at=CURRENT.staged_at + 1)
        staged = [
            replace(each, marks=own) for each, own in zip((newer, CURRENT, PREVIOUS), marks, strict=True)
        ]
        api.view = replace(api.view, releases=FixedReleases(*staged))

    api = Api(document={**FLEET, "groups": {"runners": {"channel": "stable"}, "installed": {"boot": "disk"}}})
    stage(api, (), (), ("channel:stable",))

    async def scenario() -> None:
        async with api.serve() as client:
            await ask(client, "POST", "rollouts", {**START, "canary": 2})
            for node in ("nuc-07", "nuc-08"):
                await api.rollouts.offer("runners", node)
                end(api, node, BootState.HEALTHY)
            for _ in range(4):
                await api.rollouts.turn()
            assert (await ask(client, "GET", "rollouts/runners"))[1]["state"] == "done"
            assert find_next(api, "nuc-07") == CURRENT.id
            stage(api, (), (), ())  # where it leads to is not staged as yet
            await api.rollouts.turn()
            assert find_next(api, "nuc-07") == CURRENT.id
            stage(api, ("channel:stable",), (), ())
            await api.rollouts.turn()
            assert find_next(api, "nuc-07") == "channel:stable"
            assert api.rollouts.find_standing("runners") is None
            # For good: whoever moves it back means that too.
            stage(api, (), (), ("channel:stable",))
            await api.rollouts.turn()
            assert find_next(api, "nuc-07") == "channel:stable"

    asyncio.run(scenario())


def test_a_boot_that_failed_counts_also_where_another_came_after_it() -> None:
    async def scenario(client: TestClient[Any, Any], api: Api) -> None:
        await ask(client, "POST", "rollouts", START)
        await api.rollouts.offer("runners", "nuc-07")
        end(api, "nuc-07", BootState.FAILED)
        end(api, "nuc-07", BootState.HEALTHY)
        await api.rollouts.turn()
        assert (await ask(client, "GET", "rollouts/runners"))[1]["state"] == "stopped"

    run(scenario)


def test_what_is_kept_is_what_goes_on_after_a_crash() -> None:
    async def scenario(client: TestClient[Any, Any], api: Api) -> None:
        await ask(client, "POST", "rollouts", START)
        await api.rollouts.offer("runners", "nuc-07")
        end(api, "nuc-07", BootState.FAILED)
        end(api, "nuc-07", BootState.HEALTHY)
        # Killed before it looked: what it finds again is what the store has.
        fresh = Api(store=api.store, boots=api.boots, now=api.now, document=NAMED)
        await fresh.rollouts.load()
        assert fresh.rollouts.need("runners").taken.keys() == {"nuc-07"}
        await fresh.rollouts.turn()
        assert fresh.rollouts.need("runners").state == "stopped"
        # Whoever decides by what it knew is told, and decides anew.
        await api.rollouts.turn()
        assert api.rollouts.need("runners") == fresh.rollouts.need("runners")

    run(scenario)


def test_one_that_was_taken_away_meanwhile_is_none_any_more() -> None:
    async def scenario(client: TestClient[Any, Any], api: Api) -> None:
        await ask(client, "POST", "rollouts", START)
        await api.store.delete("rollouts/runners")
        await api.rollouts.offer("runners", "nuc-07")
        await api.rollouts.turn()
        assert (await ask(client, "POST", "rollouts/runners/pause"))[0] == 404
        assert find_next(api, "nuc-07") == "boot-v1"
        assert (await ask(client, "POST", "rollouts", START))[0] == 201

    run(scenario)


def test_what_cannot_be_kept_is_not_given() -> None:
    async def scenario(client: TestClient[Any, Any], api: Api) -> None:
        await ask(client, "POST", "rollouts", START)
        api.store.error = StateError("the disk is full")
        await api.rollouts.offer("runners", "nuc-07")
        await api.rollouts.turn()
        assert find_next(api, "nuc-07") == PREVIOUS.id
        status, answer = await ask(client, "POST", "rollouts/runners/abort")
        assert (status, answer["error"]) == (503, "the disk is full")

    run(scenario)


def test_a_pause_an_end_and_what_contradicts_them() -> None:
    async def scenario(client: TestClient[Any, Any], api: Api) -> None:
        assert (await ask(client, "POST", "rollouts/runners/pause"))[0] == 404
        await ask(client, "POST", "rollouts", START)
        status, told = await ask(client, "POST", "rollouts", START)
        assert status == 409
        assert told["error"] == "runners: a rollout of boot-v2 is running"
        for turn, state in (("pause", "paused"), ("resume", "running"), ("abort", "aborted")):
            status, found = await ask(client, "POST", f"rollouts/runners/{turn}")
            assert (status, found["state"]) == (200, state)
        assert (await ask(client, "POST", "rollouts/runners/resume"))[0] == 409
        _, listed = await ask(client, "GET", "rollouts")
        assert [each["group"] for each in listed["rollouts"]] == ["runners"]

    run(scenario)


def test_another_release_in_the_fleet_ends_it() -> None:
    async def scenario(client: TestClient[Any, Any], api: Api) -> None:
        await ask(client, "POST", "rollouts", START)
        await api.rollouts.offer("runners", "nuc-07")
        api.document = {**NAMED, "groups": {"runners": {"release": "boot-v3"}, "installed": {"boot": "disk"}}}
        api.rebase()
        assert find_next(api, "nuc-07") == "boot-v3"
        await api.rollouts.turn()
        _, found = await ask(client, "GET", "rollouts/runners")
        assert (found["state"], found["why"]) == (
            "aborted",
            "the fleet says another release of the group runners than at the start",
        )

    run(scenario)


def test_a_group_that_is_gone_ends_it_and_is_said_to_be() -> None:
    async def scenario(client: TestClient[Any, Any], api: Api) -> None:
        await ask(client, "POST", "rollouts", START)
        api.document = {"groups": {"other": {}}, "nodes": {}}
        api.rebase()
        await api.rollouts.turn()
        _, found = await ask(client, "GET", "rollouts/runners")
        check(found)
        assert (found["state"], found["why"]) == ("aborted", "the fleet has no group runners any more")
        assert found["nodes"] == 0

    run(scenario)


def test_what_is_said_of_a_node_goes_first() -> None:
    async def scenario(client: TestClient[Any, Any], api: Api) -> None:
        await ask(client, "POST", "rollouts", START)
        await api.rollouts.offer("runners", "nuc-07")
        await ask(client, "POST", "nodes/nuc-07/boot-once", {"boot": "network", "release": "boot-v1"})
        assert find_next(api, "nuc-07") == "boot-v1"

    run(scenario)


def test_another_host_has_to_have_staged_it_too() -> None:
    """But one that is down, or where somebody says so."""

    async def scenario(client: TestClient[Any, Any], api: Api) -> None:
        both = [{"id": each.id, "tag": None, "marks": []} for each in (CURRENT, PREVIOUS)]
        api.hosts[1:] = [
            make_host("boot-2", releases=both),
            make_host("boot-3", releases=both[1:]),
            make_host("boot-4", releases=[]),
            make_host("boot-5", releases=[], up=False),
            make_host("boot-6", releases=both[1:], left_out=1),  # which may be it
        ]
        status, told = await ask(client, "POST", "rollouts", START)
        assert status == 409
        lacking = ["boot-3 has not staged boot-v2", "boot-4 has not staged boot-v2"]
        lacking.append("boot-4 has not staged boot-v1")
        assert told["error"] == f"runners: {'; '.join(lacking)}"
        assert "--unstaged-hosts" in told["hint"]
        assert api.pinned == []
        assert (await ask(client, "POST", "rollouts", {**START, "unstaged_hosts": 1}))[0] == 400
        del api.hosts[2:4]
        assert (await ask(client, "POST", "rollouts", START))[0] == 201
        await ask(client, "POST", "rollouts/runners/abort")
        api.hosts.append(make_host("boot-3", releases=[]))
        assert (await ask(client, "POST", "rollouts", {**START, "unstaged_hosts": True}))[0] == 201

    run(scenario)


@pytest.mark.parametrize(
    ("change", "status", "told"),
    [
        ({"group": "nobody"}, 400, "nobody: the fleet has no such group"),
        ({"group": "empty"}, 400, "empty: no node is in this group"),
        ({"release": "boot-v9"}, 409, "boot-v9: is not staged here"),
        ({"release": "boot-v1"}, 409, "runners: boots boot-v1 already"),
        ({"release": 5}, 400, "group and release have to be there, and to be text"),
        ({"waves": [10**400, 100]}, 400, "waves: at most 20 percentages were expected, as 5, 25, 100"),
        ({"waves": []}, 400, "waves: at most 20 percentages were expected, as 5, 25, 100"),
        ({"waves": ["5%"]}, 400, "waves: at most 20 percentages were expected, as 5, 25, 100"),
        ({"waves": [50, 50, 100]}, 400, "waves: percentages that grow, the last of them 100"),
        ({"waves": [0, 100]}, 400, "waves: percentages that grow, the last of them 100"),
        ({"waves": [5, 25]}, 400, "waves: percentages that grow, the last of them 100"),
        ({"canary": 0}, 400, "canary: a whole number from 1 to 10000 was expected"),
        ({"canary": 1.5}, 400, "canary: a whole number from 1 to 10000 was expected"),
        ({"waves": [True, 100]}, 400, "waves: at most 20 percentages were expected, as 5, 25, 100"),
        ({"waves": [float("nan"), 100]}, 400, "waves: at most 20 percentages were expected, as 5, 25, 100"),
        ({"canary": True}, 400, "canary: a whole number from 1 to 10000 was expected"),
        ({"max_failures": -1}, 400, "max_failures: a whole number from 0 to 10000 was expected"),
        ({"within": 0}, 400, "within: a number from 1 to 86400 was expected"),
        ({"wave": 3}, 400, "wave: no field of a rollout"),
    ],
)
def test_what_cannot_be_started_is_told_and_changes_nothing(
    change: dict[str, Any], status: int, told: str
) -> None:
    async def scenario(client: TestClient[Any, Any], api: Api) -> None:
        api.document = {**NAMED, "groups": {**NAMED["groups"], "empty": {"release": "boot-v1"}}}
        api.rebase()
        found, answer = await ask(client, "POST", "rollouts", {**START, **change})
        assert found == status
        assert answer["error"].startswith(told)
        assert api.rollouts.rollouts == {}
        assert api.pinned == []

    run(scenario)


def test_a_release_without_the_groups_system_is_no_target() -> None:
    async def scenario(client: TestClient[Any, Any], api: Api) -> None:
        say_of_runners(api, {"system": "ec-runner-aarch64-netboot"})
        status, answer = await ask(client, "POST", "rollouts", START)
        told = "runners: its system is ec-runner-aarch64-netboot, which boot-v2 has not"
        assert (status, answer["error"]) == (409, told)
        assert api.rollouts.rollouts == {}

    run(scenario)


def test_with_the_token_of_the_page_it_is_ended_and_not_started() -> None:
    async def scenario(client: TestClient[Any, Any], api: Api) -> None:
        assert (await ask(client, "POST", "rollouts", START))[0] == 403
        answer = await client.post("/api/v1/rollouts", json=START, headers=SAME)
        assert answer.status == 403
        async with api.serve() as all_rights:
            await ask(all_rights, "POST", "rollouts", START)
        assert (await ask(client, "POST", "rollouts/runners/abort"))[0] == 403
        answer = await client.post("/api/v1/rollouts/runners/abort", headers=SAME)
        assert answer.status == 200

    run(scenario, token=True)


def test_an_entry_that_cannot_be_read_is_left_out() -> None:
    async def scenario(_: TestClient[Any, Any], api: Api) -> None:
        await api.store.put("rollouts/runners", {"plan": {"id": 1}})
        await api.rollouts.load()
        assert api.rollouts.rollouts == {}

    run(scenario)


def test_who_leads_a_fleet_may_not_be_told_to_from_everywhere() -> None:
    api = Api()
    app = web.Application()
    RolloutRoutes(api.view, api.token_rights, all_rights=False).add_routes(app)
    methods = sorted(
        f"{each.method} {each.resource.canonical}" for each in app.router.routes() if each.resource
    )
    assert methods[-4:] == [
        "POST /api/v1/rollouts",
        *(f"POST /api/v1/rollouts/{{group}}/{name}" for name in ("abort", "pause", "resume")),
    ]


def test_the_fleet_is_led_by_default_by_nobody() -> None:
    live = LiveFleet(Api().store, clock=lambda: NOW)
    node = Api().fleet.need("nuc-07")
    assert live.lead(node) is None
    assert isinstance(Api().rollouts, LiveRollouts)
    assert replace(node, group=None).group is None


def test_a_release_without_a_system_to_install_is_no_target_of_nodes_that_install() -> None:
    async def scenario(client: TestClient[Any, Any], api: Api) -> None:
        say_of_runners(api, {"boot": "install"})
        status, answer = await ask(client, "POST", "rollouts", START)
        told = "runners: nuc-07 would wait: boot-v2 has no system to install"
        assert (status, answer["error"]) == (409, told)
        root = f"/nix/store/{'c' * 32}-nixos-system-ec-node-26.05"
        api.releases.releases = (replace(CURRENT, installable={CURRENT.systems[0]: [root]}), PREVIOUS)
        assert (await ask(client, "POST", "rollouts", START))[0] == 201

    run(scenario)
