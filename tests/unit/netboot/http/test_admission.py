"""Who comes in where a connection is accepted, and what is told of who does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.log_lines import LogLines

from ectools.netboot.http.admission import (
    LOBBY_CONNECTIONS,
    LOBBY_CONNECTIONS_PER_ADDRESS,
    Admission,
    Loss,
    Standing,
)
from ectools.netboot.http.slots import Use

if TYPE_CHECKING:
    pass


class Client:
    """A connection that notes what it was told."""

    def __init__(self, since: float) -> None:
        self.since = since
        self.loss: Loss | None = None

    def make_room(self, loss: Loss) -> None:
        self.loss = loss


class World:
    def __init__(self, capacity: int) -> None:
        self.now = 1000.0
        self.standings: dict[str, Standing] = {}
        self.admission = Admission(
            capacity,
            classify=lambda ip: self.standings.get(ip, Standing.CLIENT),
            clock=lambda: self.now,
        )
        self.lines = LogLines().all

    def come(self, ip: str, port: int = 1) -> Client | None:
        """A connection; None where it is closed at once."""
        slot = self.admission.find_slot(ip, port)
        if slot is None:
            return None
        client = Client(self.now)
        self.admission.enter(client, slot)
        return client

    def is_served(self, client: Client | None) -> bool:
        return client is not None and self.admission.is_served(client)


@pytest.fixture
def world() -> World:
    return World(4)


def test_an_addresss_own_newcomer_puts_out_only_what_has_rested_a_while(world: World) -> None:
    first = [world.come("192.0.2.1") for _ in range(4)]
    assert not world.is_served(world.come("192.0.2.1"))
    world.now += 6
    assert world.is_served(world.come("192.0.2.1"))
    assert [each.loss for each in first if each is not None] == [Loss.RESTING, None, None, None]
    assert not world.is_served(first[0])


def test_another_addresss_newcomer_does_not_wait(world: World) -> None:
    for _ in range(4):
        world.come("192.0.2.1")
    assert world.is_served(world.come("192.0.2.2"))


def test_the_lobby_is_small_and_each_address_has_its_share_of_it(world: World) -> None:
    for _ in range(4):
        client = world.come("192.0.2.1")
        assert client is not None
        world.admission.use(client, Use.WORK)
    crowd = [world.come("192.0.2.1") for _ in range(100)]
    inside = [client for client in crowd if client is not None]
    assert len(inside) == LOBBY_CONNECTIONS_PER_ADDRESS
    assert not any(world.is_served(client) for client in inside)
    for number in range(1000):
        world.standings[f"198.51.100.{number}"] = Standing.STRANGER
        world.come(f"198.51.100.{number}")
    assert len(world.admission.lobby) <= LOBBY_CONNECTIONS
    assert world.admission.losses[Loss.OVERLOAD] == 100
    assert world.admission.losses[Loss.STRANGER] == 1000


def test_who_is_in_the_lobby_gets_a_slot_that_has_become_free(world: World) -> None:
    clients = [world.come("192.0.2.1") for _ in range(5)]
    last = clients[-1]
    assert not world.is_served(last)
    assert clients[0] is not None
    world.admission.leave(clients[0])
    assert world.is_served(last)
    assert len(world.admission.slots) == 4
    assert len(world.admission.lobby) == 0


def test_a_stranger_never_gets_a_slot(world: World) -> None:
    world.standings["198.51.100.1"] = Standing.STRANGER
    assert not world.is_served(world.come("198.51.100.1"))
    assert len(world.admission.slots) == 0


def test_the_servers_own_question_always_has_a_place(world: World) -> None:
    for number in range(600):
        client = world.come(f"192.0.2.{number % 250}")
        if client is not None:
            world.admission.use(client, Use.WORK)
    world.admission.expect_own(("192.0.2.10", 4711))
    assert world.come("192.0.2.10", 4711) is not None
    world.admission.forget_own(("192.0.2.10", 4711))
    assert world.admission.losses[Loss.OVERLOAD] > 0


def test_leaving_twice_does_no_harm(world: World) -> None:
    client = world.come("192.0.2.1")
    assert client is not None
    world.admission.leave(client)
    world.admission.leave(client)
    assert len(world.admission) == 0


def test_many_losses_are_one_line_every_ten_seconds(world: World) -> None:
    for second in range(30):
        world.now += 1
        for number in range(1100):
            world.standings[f"10.0.{number // 250}.{number % 250}"] = Standing.STRANGER
            world.come(f"10.0.{number // 250}.{number % 250}")
        world.come("10.0.0.0")
        world.admission.report()
        assert len(world.lines()) <= 1 + second // 10
    told = world.lines()
    assert sum(line["count"] for line in told) == world.admission.losses[Loss.STRANGER] - 9 * 1101
    # Not every address is kept: the list has a bound.
    assert all(line["addresses"] <= 1025 for line in told)
    assert told[0]["max_connections"] == 4


def test_each_kind_of_loss_is_counted(world: World) -> None:
    clients = [world.come("192.0.2.1") for _ in range(4)]
    for client, use in zip(clients, (Use.REST, Use.SLOW, Use.WORK, Use.WORK), strict=True):
        assert client is not None
        world.admission.use(client, use)
    for number in range(3):
        newcomer = world.come(f"192.0.2.{number + 2}")
        assert newcomer is not None
        world.admission.use(newcomer, Use.WORK)
    assert world.admission.describe() == {
        "overload": 0,
        "stranger": 0,
        "resting": 1,
        "slow": 1,
        "share": 1,
    }


def test_limits() -> None:
    assert (LOBBY_CONNECTIONS, LOBBY_CONNECTIONS_PER_ADDRESS) == (192, 8)


def fill(world: World, *ips: str) -> list[Client]:
    """Clients that have a slot each, and work."""
    clients = []
    for ip in ips:
        client = world.come(ip)
        assert client is not None
        world.admission.use(client, Use.WORK)
        clients.append(client)
    return clients


def test_the_lobby_is_full_at_its_number(world: World) -> None:
    fill(world, *["192.0.2.1"] * 4)
    for number in range(LOBBY_CONNECTIONS):
        world.standings[f"198.51.100.{number}"] = Standing.STRANGER
        client = world.come(f"198.51.100.{number}")
        assert client is not None
        world.admission.use(client, Use.WORK)
    assert len(world.admission) == 4 + LOBBY_CONNECTIONS
    assert world.come("192.0.2.1") is None
    assert world.admission.accepted == 4 + LOBBY_CONNECTIONS + 1


def test_a_trusted_proxy_has_no_share_of_the_lobby(world: World) -> None:
    world.standings["10.0.0.1"] = Standing.PROXY
    fill(world, *["10.0.0.1"] * 4)
    crowd = [world.come("10.0.0.1") for _ in range(LOBBY_CONNECTIONS + 1)]
    assert [client is None for client in crowd] == [False] * LOBBY_CONNECTIONS + [True]
    # They make room for nobody.
    assert all(client.loss is None for client in crowd if client is not None)


@pytest.mark.parametrize(("later", "room"), [(4.9, False), (5.0, True)])
def test_how_long_an_address_is_undisturbed_by_its_own(world: World, later: float, room: bool) -> None:
    for _ in range(4):
        world.come("192.0.2.1")
    world.now += later
    assert world.is_served(world.come("192.0.2.1")) is room


@pytest.mark.parametrize(("later", "room"), [(0.005, False), (0.01, True)])
def test_an_address_gives_way_to_its_own_one_after_another(world: World, later: float, room: bool) -> None:
    world.now = -10.0
    for _ in range(4):
        world.come("192.0.2.1")
    world.now = 0.0
    assert world.is_served(world.come("192.0.2.1"))
    world.now = later
    assert world.is_served(world.come("192.0.2.1")) is room


def test_two_addresses_with_one_each_do_not_wait_for_that(world: World) -> None:
    clients = [world.come(f"192.0.2.{number}") for number in range(4)]
    assert world.is_served(world.come("192.0.2.9"))
    assert [each.loss for each in clients if each is not None] == [Loss.RESTING, None, None, None]


def test_who_makes_room_is_gone_at_once_and_told_why(world: World) -> None:
    clients = fill(world, *["192.0.2.1"] * 4)
    newcomer = world.come("192.0.2.2")
    assert newcomer is not None
    assert clients[3].loss is Loss.SHARE
    assert len(world.admission.slots) == 4
    assert clients[3] not in world.admission.slots
    assert not world.is_served(clients[3])
    assert world.admission.losses == {Loss.SHARE: 1}


def test_who_leaves_the_lobby_for_another_was_counted_when_it_came(world: World) -> None:
    fill(world, *["192.0.2.1"] * 4)
    for number in range(LOBBY_CONNECTIONS + 1):
        world.standings[f"198.51.100.{number}"] = Standing.STRANGER
        assert world.come(f"198.51.100.{number}") is not None
    assert world.admission.losses == {Loss.STRANGER: LOBBY_CONNECTIONS + 1}


def test_who_gets_a_slot_from_the_lobby_keeps_what_it_does(world: World) -> None:
    clients = fill(world, *["192.0.2.1"] * 4)
    late = world.come("192.0.2.1")
    assert late is not None
    world.admission.use(late, Use.WORK)
    world.admission.leave(clients[0])
    assert world.is_served(late)
    assert world.admission.slots.find_use(late) is Use.WORK
    assert world.admission.slots.held_by("192.0.2.1") == 4
    world.admission.leave(late)
    assert len(world.admission) == 3
    assert not world.is_served(late)


def test_the_servers_own_question_goes_to_the_lobby_whatever_its_address_is(world: World) -> None:
    world.standings["192.0.2.10"] = Standing.STRANGER
    world.admission.expect_own(("192.0.2.10", 4711))
    slot = world.admission.find_slot("192.0.2.10", 4711)
    assert slot is not None
    assert (slot.room, slot.share, slot.standing) == (world.admission.lobby, None, Standing.PROXY)
    assert world.admission.losses == {}
    other = world.admission.find_slot("192.0.2.10", 4712)
    assert other is not None
    assert other.standing is Standing.STRANGER
    world.admission.forget_own(("192.0.2.10", 4711))
    world.admission.forget_own(("192.0.2.10", 4711))
    last = world.admission.find_slot("192.0.2.10", 4711)
    assert last is not None
    assert last.standing is Standing.STRANGER


def test_what_the_log_says_of_who_was_turned_away(world: World) -> None:
    fill(world, *["192.0.2.1"] * 4)
    world.admission.report()
    assert world.lines() == []
    for ip, count in (("192.0.2.1", 10), ("192.0.2.2", 0)):
        for _ in range(count):
            world.come(ip)
    world.standings["10.0.0.1"] = Standing.PROXY
    for _ in range(3):
        world.come("10.0.0.1")  # those make room: the crowd's share
    world.admission.report()
    lines = world.lines()
    assert [line["event"] for line in lines] == ["clients are turned away"] * 2
    by_reason = {line["reason"]: line for line in lines}
    overload = by_reason["all connections are taken"]
    assert overload["level"] == "warning"
    assert (overload["count"], overload["addresses"]) == (10, 1)
    assert (overload["most_from"], overload["of_these"]) == ("192.0.2.1", 10)
    assert (overload["connections"], overload["max_connections"]) == (4, 4)
    assert by_reason["an address above its share made room"]["count"] == 3
    # Once told it is told; the next line comes ten seconds later.
    world.admission.report()
    world.come("192.0.2.1")
    world.now += 9.9
    world.admission.report()
    assert len(world.lines()) == 2
    world.now += 0.1
    world.admission.report()
    assert [line["count"] for line in world.lines()[2:]] == [1]


def test_a_trusted_proxy_is_named_as_one_in_the_log(world: World) -> None:
    world.standings["10.0.0.1"] = Standing.PROXY
    fill(world, *["10.0.0.1"] * 4)
    world.come("10.0.0.1")
    world.admission.report()
    assert [line["most_from"] for line in world.lines()] == ["a trusted proxy"]


def test_addresses_in_the_log_are_bounded(world: World) -> None:
    for number in range(1024 + 10):
        world.standings[f"10.0.{number // 250}.{number % 250}"] = Standing.STRANGER
        world.come(f"10.0.{number // 250}.{number % 250}")
    world.come("10.0.0.0")  # one that is known is still told apart
    world.admission.report()
    (line,) = world.lines()
    assert (line["addresses"], line["count"]) == (1025, 1035)
    assert (line["most_from"], line["of_these"]) == ("others", 10)
