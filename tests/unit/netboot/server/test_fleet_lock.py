"""FleetLock's endpoints: what clients get, and what those get who speak it badly."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from multidict import CIMultiDict, MultiDict
from support.fleet_api import MemoryStore
from support.fleets import make_fleet

from ectools.netboot.http.handler import RequestInfo
from ectools.netboot.http.webroot import RejectedError
from ectools.netboot.rollout.slots import GroupSlots
from ectools.netboot.server.fleet_lock import PRE_REBOOT, STEADY_STATE, FleetLock
from ectools.netboot.server.receivers import Receivers
from ectools.netboot.state.interface import StateError

FLEET = make_fleet(groups={"runners": {"slots": 1}, "others": {}})
TRUE = {"fleet-lock-protocol": "true"}


class World:
    """The endpoints over a store in memory."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.fleet = FLEET
        self.now = 0.0
        self.lock = FleetLock(
            GroupSlots(self.store, clock=lambda: self.now),
            fleet=lambda: self.fleet,
            name_client=lambda info: info.peer,
            clock=lambda: self.now,
        )

    def post(
        self,
        segments: tuple[bytes, ...],
        body: Any,
        *,
        headers: dict[str, str] | None = None,
    ) -> bytes:
        info = RequestInfo(
            peer="192.0.2.7",
            method="POST",
            segments=segments,
            query=MultiDict(),
            headers=CIMultiDict(TRUE if headers is None else headers),
        )
        assert self.lock.is_for(info)
        self.lock.admit(info)
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return asyncio.run(self.lock.receive(info, raw))

    def refuse(self, status: int, kind: str, segments: tuple[bytes, ...], body: Any, **more: Any) -> str:
        with pytest.raises(RejectedError) as caught:
            self.post(segments, body, **more)
        assert caught.value.document is not None
        assert (caught.value.status, caught.value.document["kind"]) == (status, kind)
        return caught.value.document["value"]


def ask(name: object, group: object = "runners") -> dict[str, Any]:
    return {"client_params": {"id": name, "group": group}}


def test_one_at_a_time_and_the_next_when_it_is_back() -> None:
    world = World()
    assert world.post(PRE_REBOOT, ask("a")) == b""
    assert world.post(PRE_REBOOT, ask("a")) == b""
    told = world.refuse(409, "all_slots_taken", PRE_REBOOT, ask("b"))
    assert told == "runners: 1 of 1 slots are taken, by a"
    assert world.post(STEADY_STATE, ask("b")) == b""  # had none, and is told that all is well
    world.refuse(409, "all_slots_taken", PRE_REBOOT, ask("b"))
    assert world.post(STEADY_STATE, ask("a")) == b""
    assert world.post(PRE_REBOOT, ask("b")) == b""


def make_node(group: str | None, *, slots: int | None = 1) -> Any:
    nodes = {"a": {"match": {"serial": "a"}, **({} if group is None else {"group": group})}}
    return make_fleet(groups={"runners": {"slots": slots}, "others": {}}, nodes=nodes)


@pytest.mark.parametrize("group", ["others", None, ""])
def test_a_node_that_is_elsewhere_now_keeps_no_slot(group: str | None) -> None:
    """``""``: it is no node any more."""
    world = World()
    world.fleet = make_node("runners")
    assert world.post(PRE_REBOOT, ask("a")) == b""
    world.refuse(409, "all_slots_taken", PRE_REBOOT, ask("b"))
    world.fleet = FLEET if group == "" else make_node(group)
    assert world.post(PRE_REBOOT, ask("b")) == b""
    # Of this one it is not known what it is.
    world.refuse(409, "all_slots_taken", PRE_REBOOT, ask("c"))


@pytest.mark.parametrize("fleet", [make_node("others"), make_node("runners", slots=None)])
def test_a_slot_is_given_back_wherever_it_was_taken(fleet: Any) -> None:
    world = World()
    world.fleet = make_node("runners")
    world.post(PRE_REBOOT, ask("a"))
    world.fleet = fleet
    assert world.post(STEADY_STATE, ask("a", fleet.nodes["a"].group)) == b""
    world.fleet = FLEET
    assert world.post(PRE_REBOOT, ask("b")) == b""


def test_a_lock_of_the_whole_site_holds_for_nodes_of_other_groups() -> None:
    world = World()
    world.fleet = make_fleet(
        groups={"site": {"slots": 1}, "runners": {}, "workers": {}},
        nodes={name: {"group": f"{name}s", "match": {"serial": name}} for name in ("runner", "worker")},
    )
    assert world.post(PRE_REBOOT, ask("runner", "site")) == b""
    for name in ("worker", "stranger"):
        world.refuse(409, "all_slots_taken", PRE_REBOOT, ask(name, "site"))
    assert world.post(STEADY_STATE, ask("runner", "site")) == b""
    assert world.post(PRE_REBOOT, ask("worker", "site")) == b""


@pytest.mark.parametrize("group", ["a b", "", "x" * 3000])
def test_a_group_that_none_can_be_is_not_known(group: str) -> None:
    World().refuse(404, "unknown_group", STEADY_STATE, ask("a", group))


def test_a_group_that_is_gone_frees_what_it_gave_and_is_not_known_otherwise() -> None:
    world = World()
    world.post(PRE_REBOOT, ask("x"))
    world.fleet = make_fleet()
    assert world.post(STEADY_STATE, ask("x")) == b""
    world.refuse(404, "unknown_group", STEADY_STATE, ask("x"))


@pytest.mark.parametrize("group", ["others", "nobody"])
def test_a_group_without_slots_is_not_known_here(group: str) -> None:
    assert group in World().refuse(404, "unknown_group", PRE_REBOOT, ask("a", group))


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"x", b"[]", b"null", b"{}", b"\xff", b"[" * 1000),
        *({"client_params": []}, {"client_params": {"id": "a"}}),
        *(ask(5), ask(""), ask("a b"), ask("é"), ask("a" * 129), ask("a", 5), ask("a", None)),
    ],
)
def test_what_is_no_question_is_told_so(body: Any) -> None:
    world = World()
    world.refuse(400, "bad_body", PRE_REBOOT, body)
    assert world.store.entries == {}


@pytest.mark.parametrize("headers", [{}, {"fleet-lock-protocol": "false"}])
def test_without_the_header_it_is_another_protocol(headers: dict[str, str]) -> None:
    World().refuse(400, "bad_header", PRE_REBOOT, ask("a"), headers=headers)


def test_who_asks_all_the_time_is_told_to_come_later() -> None:
    world = World()
    for _ in range(32):
        world.post(STEADY_STATE, ask("a"))
    world.refuse(429, "too_many_requests", STEADY_STATE, ask("a"))
    world.now += 1
    world.post(STEADY_STATE, ask("a"))


def test_what_cannot_be_kept_is_not_promised() -> None:
    world = World()
    world.store.error = StateError("the disk is full")
    world.refuse(503, "unkept", PRE_REBOOT, ask("a"))


def test_each_of_several_receivers_has_its_own_paths() -> None:
    world = World()

    class Other(FleetLock):
        """Whoever takes what FleetLock does not."""

        max_bytes = 5000

        def is_for(self, info: RequestInfo) -> bool:
            return info.segments == (b"report",)

        async def receive(self, info: RequestInfo, body: bytes) -> bytes:
            return b"other"

    slots = GroupSlots(world.store, clock=lambda: 0.0)
    other = Other(slots, fleet=lambda: FLEET, name_client=lambda _: "x", clock=lambda: 0.0)
    both = Receivers([other, world.lock])
    assert both.max_bytes == 5000

    def info(*segments: bytes) -> RequestInfo:
        return RequestInfo(
            peer="192.0.2.7", method="POST", segments=segments, query=MultiDict(), headers=CIMultiDict(TRUE)
        )

    assert both.is_for(info(b"report"))
    assert not both.is_for(info(b"v1"))
    assert (both.bound(info(b"report")), both.bound(info(*PRE_REBOOT))) == (5000, 1024)
    both.admit(info(*PRE_REBOOT))
    assert asyncio.run(both.receive(info(b"report"), b"")) == b"other"
    assert asyncio.run(both.receive(info(*STEADY_STATE), json.dumps(ask("a")).encode())) == b""
