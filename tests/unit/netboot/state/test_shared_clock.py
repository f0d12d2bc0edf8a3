"""The clock that hosts share: how it is set by a server's, and what moves it."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

import pytest
from support.nats_servers import NATS_SERVERS, NatsServer, start_nats
from support.shared_stores import open_shared, until, until_there

from ectools.netboot.state import shared_clock, shared_link
from ectools.netboot.state.connection_end import ConnectionEnd
from ectools.netboot.state.shared_clock import FAR_SECONDS, SharedClock, read_boot_time

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class World:
    """A host's own time, its ticks, and the server's time."""

    def __init__(self, *, ahead: float) -> None:
        self.own, self.ticks, self.theirs = 5000.0 + ahead, 70.0, 5000.0
        self.answers: list[float | None] = []
        self.takes = 0.0
        self.clock = SharedClock(own=lambda: self.own, ticks=lambda: self.ticks)

    def go_on(self, seconds: float) -> None:
        self.own, self.ticks, self.theirs = self.own + seconds, self.ticks + seconds, self.theirs + seconds

    async def ask(self) -> float | None:
        self.go_on(self.takes / 2)
        told = self.answers.pop(0) if self.answers else self.theirs
        self.go_on(self.takes / 2)
        return told

    def measure(self) -> float:
        return asyncio.run(self.clock.measure(self.ask))


@pytest.mark.parametrize("ahead", [900.0, -900.0])
def test_it_is_the_servers(ahead: float, caplog: pytest.LogCaptureFixture) -> None:
    world = World(ahead=ahead)
    world.takes = 0.5
    assert (world.clock(), world.clock.is_known, world.clock.ahead) == (world.own, False, None)
    assert world.measure() == pytest.approx(-ahead)
    assert world.clock.is_known
    world.go_on(30.0)
    assert world.clock() == pytest.approx(world.theirs)
    assert world.clock.ahead == pytest.approx(ahead)
    for _ in range(3):
        world.measure()
    assert caplog.text.count("differs from that of NATS") == 1


def test_a_step_of_the_own_clock_moves_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """NTP sets a clock that was wrong, or somebody sets one wrong, while all runs."""
    world = World(ahead=0.0)
    world.measure()
    world.own += 900.0
    world.go_on(10.0)
    assert world.clock() == pytest.approx(world.theirs)
    assert world.clock.ahead == pytest.approx(900.0)
    assert world.measure() == 0.0
    assert "differs" in caplog.text
    world.own -= 900.0
    assert world.measure() == 0.0
    assert "agrees" in caplog.text


def test_a_machine_that_slept_is_right_when_it_wakes() -> None:
    """The kernel counts the time of the sleep, too."""
    world = World(ahead=-40.0)
    world.measure()
    world.go_on(8 * 3600.0)
    assert world.clock() == pytest.approx(world.theirs)
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= read_boot_time() <= before + 60.0


def test_noise_is_no_step() -> None:
    world = World(ahead=-0.4)
    assert world.measure() == 0.0
    world.theirs += 0.5
    assert world.measure() == 0.0
    world.takes = 3.0  # nobody knows when within it
    world.theirs += 0.5
    assert world.measure() == 0.0
    world.takes = 0.0
    assert world.measure() == pytest.approx(1.4)


def test_a_server_that_steps_is_followed() -> None:
    world = World(ahead=0.0)
    world.measure()
    world.theirs += 900.0
    assert world.measure() == pytest.approx(900.0)
    assert world.clock() == pytest.approx(world.theirs)


def test_an_answer_that_is_missing_is_asked_for_again() -> None:
    world = World(ahead=900.0)
    world.answers = [None, None]
    assert world.measure() == pytest.approx(-900.0)
    other = World(ahead=900.0)
    other.answers = [None] * 100
    assert other.measure() == 0.0
    assert not other.clock.is_known


def test_the_first_reason_of_an_end_is_told() -> None:
    end = ConnectionEnd()
    assert not end.is_set()
    assert end.explain().message == "the connection to NATS is at its end"
    end.set("nats: permissions violation for publish to x")
    end.set("nats: later")
    assert end.is_set()
    assert end.explain().message.endswith("its end: nats: permissions violation for publish to x")
    assert "SCALING.md" in (end.explain().hint or "")
    assert ConnectionEnd().explain().hint is None


@pytest.fixture(scope="module", params=NATS_SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with start_nats(tmp_path_factory.mktemp("nats"), request.param) as started:
        yield started


def test_hosts_that_ask_at_the_same_moment(
    server: NatsServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each is told the time, and nobody takes what they ask by for an entry."""

    async def scenario() -> None:
        one = SharedClock(own=lambda: time.time() + 900)
        two = SharedClock(own=lambda: time.time() - 900)
        async with (
            open_shared(tmp_path / "one", server.url, bucket="clocks", clock=one) as first,
            open_shared(tmp_path / "two", server.url, bucket="clocks", clock=two) as second,
        ):
            buckets = [store._bucket for store in (first, second) for _ in range(20)]
            found = await asyncio.gather(*(each.ask_time() for each in buckets if each is not None))
            told = [each for each in found if each is not None]
            assert told
            assert all(abs(each - time.time()) < FAR_SECONDS for each in told)
            for clock, ahead in ((one, 900), (two, -900)):
                assert clock.ahead == pytest.approx(ahead, abs=FAR_SECONDS)
            await first.put("latest/a", {"n": 1})
            await until_there(lambda: second.list(""), lambda entries: len(entries) == 1)
            (entry,) = await second.list("")
            assert abs(entry.changed - time.time()) < 60.0

    asyncio.run(scenario())
    assert "no key" not in caplog.text


def test_it_is_measured_again_and_again(
    server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_link, "MEASURE_SECONDS", 0.05)
    assert shared_clock.MEASURE_SECONDS == 60.0

    async def scenario() -> None:
        jump = [0.0]  # of the ticks: as if the server had stepped back
        clock = SharedClock(ticks=lambda: read_boot_time() + jump[0])
        async with open_shared(tmp_path / "one", server.url, bucket="again", clock=clock):
            jump[0] = 500.0
            assert clock() > time.time() + 400
            await until(lambda: abs(clock() - time.time()) < FAR_SECONDS)

    asyncio.run(scenario())


def test_what_is_said_to_have_been_written_tomorrow_was_written_now(
    server: NatsServer, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with open_shared(tmp_path / "one", server.url, bucket="late") as store:
            assert store._bucket is not None
            value = json.dumps({"t": time.time() + 1e9, "v": {"n": 1}}).encode()
            await store._bucket._publish("$KV.late.hosts.x", value, {}, None)
            (entry,) = await until_there(lambda: store.list("hosts/"), bool)
            assert abs(entry.changed - time.time()) < 60.0

    asyncio.run(scenario())
