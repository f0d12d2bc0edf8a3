"""What is made of the run states that QEMU answers with, told to a service manager that listens."""

from __future__ import annotations

import asyncio
import logging
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from support.qmp_server import guest_without_qemu
from support.virtual_time import run_virtually

from ectools.notify import Notifier
from ectools.vm import health
from ectools.vm.health import HEALTH_PAUSE_SECONDS, Health
from ectools.vm.qmp import QmpError
from ectools.vm.status_line import StatusLine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from support.qmp_server import QmpServer

HOUR = 3600.0


@dataclass
class Bench:
    """A service manager, a clock that a test sets, and the log."""

    manager: socket.socket
    log: pytest.LogCaptureFixture
    now: float = 5000.0
    is_linked: bool = True
    health: Health = field(init=False)
    qemu: QmpServer = field(init=False)

    def run(self, scenario: Callable[[Bench], Awaitable[None]]) -> None:
        async def inside() -> None:
            async with guest_without_qemu() as (guest, self.qemu):
                notifier = Notifier()
                self.health = Health(
                    guest,
                    notifier=notifier,
                    status=StatusLine(notifier),
                    runs="the guest runs",
                    is_linked=lambda: self.is_linked,
                    clock=lambda: self.now,
                )
                await asyncio.wait_for(scenario(self), 60)

        asyncio.run(inside())

    async def turn(self, state: str, *, after: float = 0.0) -> str | None:
        self.qemu.state = state
        self.now += after
        return await self.health.turn()

    def heard(self) -> list[str]:
        """What the service manager was told since it was last asked."""
        messages = []
        while True:
            try:
                messages.append(self.manager.recv(4096).decode())
            except BlockingIOError:
                return messages

    def told(self) -> list[tuple[str, dict[str, Any]]]:
        """The events of the log since it was last asked."""
        events = [(record.getMessage(), record.__dict__["fields"]) for record in self.log.records]
        self.log.clear()
        return events


@pytest.fixture
def bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Iterator[Bench]:
    caplog.set_level(logging.INFO, logger="ectools")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "60000000")
        yield Bench(manager, caplog)


# RunState of qapi/run-state.json, QEMU 9; "colo" and "preconfig" come and go with its versions.
HELD = [
    *("colo", "debug", "finish-migrate", "guest-panicked", "inmigrate", "io-error", "paused", "postmigrate"),
    *("preconfig", "prelaunch", "restore-vm", "save-vm", "watchdog", "a-later-one"),
]


@pytest.mark.parametrize("state", ["running", "suspended"])
def test_a_guest_that_is_as_it_wants_to_be_is_alive_for_ever(state: str, bench: Bench) -> None:
    async def scenario(bench: Bench) -> None:
        for _ in range(3):
            assert await bench.turn(state, after=HEALTH_PAUSE_SECONDS) is None
            assert "WATCHDOG=1" in bench.heard()
        assert bench.told() == []

    bench.run(scenario)


@pytest.mark.parametrize("state", HELD)
def test_a_guest_that_is_held_is_told_and_lives_for_the_stated_time(state: str, bench: Bench) -> None:
    async def scenario(bench: Bench) -> None:
        assert await bench.turn(state) is None
        assert bench.heard() == [
            "WATCHDOG=1",
            f"STATUS=the guest is paused ({state}) for less than a minute",
        ]
        ((event, fields),) = bench.told()
        assert (event, fields["status"], fields["paused_seconds"]) == ("the guest is paused", state, 0)
        assert await bench.turn(state, after=HEALTH_PAUSE_SECONDS - 1) is None
        assert "WATCHDOG=1" in bench.heard()
        assert await bench.turn(state, after=2) == f"it has been held for 24 h 0 min: {state}"
        assert bench.heard() == []

    bench.run(scenario)


def test_a_guest_without_its_lan_is_told_once_and_lives(bench: Bench) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.turn("running")
        bench.is_linked = False
        bench.heard()
        for _ in range(3):
            assert await bench.turn("running", after=15) is None
        assert bench.heard() == [
            "WATCHDOG=1",
            "STATUS=the guest runs, without its LAN",
            "WATCHDOG=1",
            "WATCHDOG=1",
        ]
        ((event, _),) = bench.told()
        assert event.startswith("the link of the guest's LAN is gone")

    bench.run(scenario)


def test_a_guest_that_powers_itself_off_is_held_only_where_qemu_stays(bench: Bench) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.turn("shutdown")
        await bench.turn("shutdown", after=4)
        assert bench.told() == []
        assert bench.heard() == ["WATCHDOG=1", "WATCHDOG=1"]
        await bench.turn("shutdown", after=10)
        ((event, fields),) = bench.told()
        assert (event, fields["status"], fields["paused_seconds"]) == ("the guest is paused", "shutdown", 14)

    bench.run(scenario)


def test_the_end_of_the_connection_is_told_only_where_qemu_lives_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_END_SECONDS", 0.3)

    async def scenario(bench: Bench) -> None:
        bench.qemu.hang_up()
        watching = asyncio.create_task(bench.health.watch())
        await asyncio.sleep(0.1)
        assert bench.told() == []
        while not (told := bench.told()):  # noqa: ASYNC110 - the log has no event to wait for
            await asyncio.sleep(0.01)
        assert [event for event, _ in told] == ["QEMU does not answer"]
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        assert "WATCHDOG=1" not in bench.heard()

    bench.run(scenario)


def test_without_a_watchdog_a_pause_has_no_limit(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATCHDOG_USEC")

    async def scenario(bench: Bench) -> None:
        await bench.turn("paused")
        assert await bench.turn("paused", after=100 * HEALTH_PAUSE_SECONDS) is None

    bench.run(scenario)


def test_an_internal_error_is_the_end_at_once(bench: Bench) -> None:
    async def scenario(bench: Bench) -> None:
        assert await bench.turn("internal-error") == "internal-error"
        assert bench.heard() == []

    bench.run(scenario)


def test_a_long_pause_is_told_seldomer_and_its_end_with_its_length(bench: Bench) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.turn("running")
        heard = []
        for _ in range(4 * 60 * 12 + 1):
            await bench.turn("paused", after=15)
            heard += bench.heard()
        told = bench.told()
        assert [fields["paused_seconds"] for _, fields in told] == [0, *(60 * 2**n for n in range(10))]
        assert sum(message.startswith("STATUS=") for message in heard) == 12 * 60 + 2
        assert "STATUS=the guest is paused (paused) for 11 h 59 min" in heard
        await bench.turn("running", after=15)
        assert bench.told() == [("the guest runs again", {"paused_seconds": 12 * 3600 + 15})]
        assert bench.heard()[-1] == "STATUS=the guest runs"
        # The next pause has its time for itself.
        await bench.turn("paused", after=HOUR)
        assert await bench.turn("paused", after=HEALTH_PAUSE_SECONDS - 1) is None

    bench.run(scenario)


def test_a_failed_request_of_the_disk_is_tried_again(bench: Bench) -> None:
    async def scenario(bench: Bench) -> None:
        for _ in range(3):
            await bench.turn("io-error", after=15)
            await bench.turn("running", after=0.2)  # until the request has failed again
        assert bench.qemu.asked.count("cont") == 3
        assert [event for event, _ in bench.told()] == ["the guest is paused"]
        await bench.turn("running", after=15)
        assert [event for event, _ in bench.told()] == ["the guest runs again"]

    bench.run(scenario)


@pytest.mark.parametrize("state", ["paused", "debug", "watchdog", "shutdown"])
def test_nobody_elses_pause_is_ended(state: str, bench: Bench) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.turn(state)
        assert bench.qemu.asked == ["query-status"]

    bench.run(scenario)


def test_a_slow_answer_counts_when_it_comes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_SLOW_SECONDS", 0.05)

    async def scenario(bench: Bench) -> None:
        await bench.turn("running")
        bench.heard()
        bench.qemu.answering.clear()
        turn = asyncio.create_task(bench.health.turn())
        while not (told := bench.told()):  # noqa: ASYNC110 - the log has no event to wait for
            await asyncio.sleep(0.01)
        assert told[0][0] == "QEMU does not answer"
        assert bench.heard() == ["STATUS=QEMU does not answer"]
        bench.now += 40
        bench.qemu.answering.set()
        assert await turn is None
        assert bench.told() == [("QEMU answers again", {"after_seconds": 40})]
        assert bench.heard() == ["STATUS=the guest runs", "WATCHDOG=1"]

    bench.run(scenario)


def test_no_answer_is_no_food(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_SLOW_SECONDS", 0.01)
    monkeypatch.setattr(health, "_GIVE_UP_SECONDS", 0.02)

    async def scenario(bench: Bench) -> None:
        bench.qemu.answering.clear()
        for _ in range(2):
            with pytest.raises(QmpError, match="no answer within"):
                await bench.health.turn()
        assert "WATCHDOG=1" not in bench.heard()
        assert [event for event, _ in bench.told()] == ["QEMU does not answer"]

    bench.run(scenario)


async def wait_for_food(bench: Bench) -> None:
    while "WATCHDOG=1" not in bench.heard():  # noqa: ASYNC110 - a socket that is polled
        await asyncio.sleep(0.01)


def test_the_watch_outlives_an_answer_that_is_none_and_a_fault_of_its_own(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "40000")
    turn, faults = Health.turn, [RuntimeError("a fault"), ZeroDivisionError()]

    async def sometimes(self: Health) -> str | None:
        if faults:
            raise faults.pop()
        return await turn(self)

    monkeypatch.setattr(Health, "turn", sometimes)

    async def scenario(bench: Bench) -> None:
        bench.qemu.garbled = 2
        watching = asyncio.create_task(bench.health.watch())
        await wait_for_food(bench)
        bench.qemu.state = "internal-error"
        assert await watching == "internal-error"
        events = [event for event, _ in bench.told()]
        assert events.count("a fault of this program; it goes on") == 1  # a second within a minute is counted
        assert "QEMU does not answer" in events

    bench.run(scenario)


def test_a_stop_is_seen_when_it_happens(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next turn would be in a quarter of an hour."""
    monkeypatch.setenv("WATCHDOG_USEC", str(3600 * 10**6))
    monkeypatch.setattr(health, "_TURN_SECONDS", 900.0)

    async def scenario(bench: Bench) -> None:
        watching = asyncio.create_task(bench.health.watch())
        await wait_for_food(bench)
        bench.qemu.state = "internal-error"
        bench.qemu.send_event("STOP")
        assert await watching == "internal-error"

    bench.run(scenario)


def test_a_guest_that_is_being_stopped_says_so_to_its_end(bench: Bench) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.turn("running")
        bench.heard()
        bench.health.end()
        await bench.turn("paused")
        await bench.turn("running", after=120)
        assert [message for message in bench.heard() if "READY" not in message] == [
            "STOPPING=1",
            "STATUS=stopping the guest",
            "WATCHDOG=1",
            "WATCHDOG=1",
        ]

    bench.run(scenario)


def test_a_qemu_that_changes_its_mind_without_an_end_does_not_fill_the_log(bench: Bench) -> None:
    """What a guest that broke out of it can say: any state, as often as it is asked, and of any length."""

    async def scenario(bench: Bench) -> None:
        for _ in range(300):
            await bench.turn("x" * 100_000)
            await bench.turn("running")
            bench.heard()

    bench.run(scenario)
    told = bench.told()
    assert 100 <= len(told) <= 110
    assert sum(len(str(entry)) for entry in told) < 30_000


def test_an_error_of_qemus_is_cut(bench: Bench) -> None:
    async def scenario(bench: Bench) -> None:
        bench.qemu.errors = {"query-status": "x" * 100_000}
        with pytest.raises(QmpError) as caught:
            await bench.turn("running")
        assert len(caught.value.message) < 1000

    bench.run(scenario)


def watch_virtually(
    bench: Bench, script: Callable[[Bench, Callable[..., object]], None]
) -> tuple[str, list[float]]:
    """Watch until the end that ``script`` arranges: why, and when QEMU was asked, in seconds."""

    async def inside() -> tuple[str, list[float]]:
        loop = asyncio.get_running_loop()
        asked: list[float] = []
        async with guest_without_qemu() as (guest, bench.qemu):
            began = loop.time()
            bench.qemu.on_command = lambda _: asked.append(round(loop.time() - began, 1))
            notifier = Notifier()
            made = Health(guest, notifier=notifier, status=StatusLine(notifier), runs="the guest runs")
            script(bench, loop.call_later)
            return await made.watch(), asked

    return run_virtually(inside())


def break_down(bench: Bench) -> None:
    bench.qemu.state = "internal-error"
    bench.qemu.send_event("STOP")


@pytest.mark.parametrize(
    ("microseconds", "asked"),
    [
        (None, [0, 15.1, 30.2]),
        ("20000000", [0, 5.1, 10.2, 15.3, 20.4, 25.5, 30.6]),
        ("3600000000", [0, 15.1, 30.2]),
    ],
)
def test_qemu_is_asked_four_times_within_the_watchdogs_time(
    microseconds: str | None, asked: list[float], bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    if microseconds is None:
        monkeypatch.delenv("WATCHDOG_USEC")
    else:
        monkeypatch.setenv("WATCHDOG_USEC", microseconds)
    why, times = watch_virtually(bench, lambda _, later: later(31, break_down, bench))
    assert why == "internal-error"
    assert times == [*asked, 31]


def test_many_stops_in_a_row_are_looked_at_ten_times_a_second(bench: Bench) -> None:
    def script(bench: Bench, later: Callable[..., object]) -> None:
        for number in range(1000):
            later(number / 1000, bench.qemu.send_event, "STOP")
        later(2, break_down, bench)

    why, times = watch_virtually(bench, script)
    assert why == "internal-error"
    assert 9 <= len([time for time in times if time <= 1.0]) <= 12


def test_a_qemu_that_has_hung_up_has_five_seconds_to_end(bench: Bench) -> None:
    async def inside() -> list[tuple[float, str]]:
        loop = asyncio.get_running_loop()
        async with guest_without_qemu() as (guest, qemu):
            notifier = Notifier()
            made = Health(guest, notifier=notifier, status=StatusLine(notifier), runs="the guest runs")
            qemu.hang_up()
            began, seen = loop.time(), []
            watching = asyncio.create_task(made.watch())
            for _ in range(60):
                seen += [(loop.time() - began, event) for event, _ in bench.told()]
                await asyncio.sleep(0.5)
            watching.cancel()
            return seen

    ((when, event),) = run_virtually(inside())  # once, however often it is asked
    assert event == "QEMU does not answer"
    assert 5 <= when <= 6


def test_an_answer_that_takes_more_than_twenty_seconds_is_told_and_one_of_two_minutes_is_none(
    bench: Bench,
) -> None:
    async def inside() -> None:
        loop = asyncio.get_running_loop()
        async with guest_without_qemu() as (guest, qemu):
            notifier = Notifier()
            made = Health(guest, notifier=notifier, status=StatusLine(notifier), runs="the guest runs")
            qemu.answering.clear()
            loop.call_later(19, qemu.answering.set)
            assert await made.turn() is None
            assert bench.told() == []
            qemu.answering.clear()
            loop.call_later(21, qemu.answering.set)
            began = loop.time()
            assert await made.turn() is None
            assert round(loop.time() - began) == 21
            assert bench.told() == [
                ("QEMU does not answer", {"reason": "no answer on QMP for 20 s"}),
                ("QEMU answers again", {"after_seconds": 1}),
            ]
            qemu.answering.clear()
            began = loop.time()
            with pytest.raises(QmpError, match="no answer within 120 s"):
                await made.turn()
            assert round(loop.time() - began) == 120

    run_virtually(inside())


def test_a_pause_ends_at_its_limit_and_not_before(bench: Bench) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.turn("paused")
        assert await bench.turn("paused", after=HEALTH_PAUSE_SECONDS) is None
        assert await bench.turn("paused", after=0.5) is not None

    bench.run(scenario)


def test_the_watchdogs_time_that_is_left_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.turn("paused")
        await bench.turn("paused", after=HOUR)
        assert [fields for _, fields in bench.told()] == [
            {"status": "paused", "paused_seconds": 0, "watchdog_seconds_left": 24 * 3600},
            {"status": "paused", "paused_seconds": 3600, "watchdog_seconds_left": 23 * 3600},
        ]

    bench.run(scenario)
    monkeypatch.delenv("WATCHDOG_USEC")

    async def unwatched(bench: Bench) -> None:
        await bench.turn("paused")
        assert [fields for _, fields in bench.told()] == [{"status": "paused", "paused_seconds": 0}]

    bench.run(unwatched)


def test_ten_seconds_after_a_retry_the_guest_runs(bench: Bench) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.turn("io-error")
        await bench.turn("running", after=9.9)
        assert [event for event, _ in bench.told()] == ["the guest is paused"]
        bench.heard()
        await bench.turn("running", after=0.1)
        assert bench.told() == [("the guest runs again", {"paused_seconds": 10})]
        assert "READY=1" in bench.heard()

    bench.run(scenario)


def test_a_retry_that_fails_is_no_end(bench: Bench) -> None:
    async def scenario(bench: Bench) -> None:
        bench.qemu.errors = {"cont": "no"}
        assert await bench.turn("io-error") is None

    bench.run(scenario)


def test_a_sleeping_guest_is_in_the_status(bench: Bench) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.turn("suspended")
        assert bench.heard() == ["WATCHDOG=1", "STATUS=the guest runs: suspended"]

    bench.run(scenario)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (59.9, "less than a minute"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h 0 min"),
        (90061, "25 h 1 min"),
    ],
)
def test_a_pauses_length_is_to_the_minute(
    seconds: float, shown: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WATCHDOG_USEC")

    async def scenario(bench: Bench) -> None:
        await bench.turn("paused")
        await bench.turn("paused", after=seconds)
        statuses = [message for message in bench.heard() if message.startswith("STATUS=")]
        assert statuses[-1] == f"STATUS=the guest is paused (paused) for {shown}"

    bench.run(scenario)
