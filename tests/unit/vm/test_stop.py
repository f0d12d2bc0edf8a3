"""The steps of a stop: which are taken, for how long, and what cuts one short."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
from typing import TYPE_CHECKING, Any

import pytest
from support.fake_process import FakeProcess
from support.qmp_server import guest_without_qemu
from support.virtual_time import run_virtually

from ectools.vm.settings import Shutdown
from ectools.vm.stop import StopRequest, StopStep, stop_guest

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.qmp_server import QmpServer

TIMES = Shutdown(powerdown_seconds=25, quit_seconds=5, terminate_seconds=7)
STUBBORN = (signal.SIGKILL,)
COMMANDS = {"system_powerdown", "quit"}


class Stop:
    """A stop of a guest: when each command and each signal came, in seconds since its beginning."""

    def __init__(self, *, deadly: tuple[int, ...] = STUBBORN) -> None:
        self.deadly = deadly
        self.came: list[tuple[float, str]] = []
        self.step: StopStep | None = None
        self.lasted = 0.0

    async def run(
        self,
        times: Shutdown,
        *,
        set_up: Callable[[QmpServer, StopRequest, FakeProcess], None] = lambda *_: None,
    ) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()

        def note(what: str) -> None:
            self.came.append((round(loop.time() - began, 3), what))

        class Process(FakeProcess):
            def _send(self, number: int) -> None:
                note(signal.Signals(number).name)
                super()._send(number)

        process, request = Process(deadly=self.deadly), StopRequest()
        async with guest_without_qemu(process=process) as (guest, qemu):
            began = loop.time()
            qemu.on_command = lambda name: note(name) if name in COMMANDS else None
            request.ask()
            set_up(qemu, request, process)
            await asyncio.sleep(0)
            self.step = await stop_guest(guest, times, request)
            self.lasted = round(loop.time() - began, 3)


def stop(
    times: Shutdown = TIMES,
    *,
    set_up: Callable[[QmpServer, StopRequest, FakeProcess], None] = lambda *_: None,
    deadly: tuple[int, ...] = STUBBORN,
) -> Stop:
    made = Stop(deadly=deadly)
    run_virtually(made.run(times, set_up=set_up))
    return made


def test_a_guest_that_hears_nothing_is_asked_told_and_killed_each_in_its_time() -> None:
    made = stop()
    assert made.came == [
        *((seconds, "system_powerdown") for seconds in (0, 10, 20)),
        (25, "quit"),
        (30, "SIGTERM"),
        (37, "SIGKILL"),
    ]
    assert (made.step, made.lasted) == (StopStep.KILL, 37)


@pytest.mark.parametrize(
    ("zero", "came"),
    [
        ("powerdown_seconds", [(0, "quit"), (5, "SIGTERM"), (12, "SIGKILL")]),
        (
            "quit_seconds",
            [
                *((seconds, "system_powerdown") for seconds in (0, 10, 20)),
                (25, "SIGTERM"),
                (32, "SIGKILL"),
            ],
        ),
        (
            "terminate_seconds",
            [*((seconds, "system_powerdown") for seconds in (0, 10, 20)), (25, "quit"), (30, "SIGKILL")],
        ),
    ],
)
def test_a_step_of_no_seconds_is_left_out(zero: str, came: list[tuple[float, str]]) -> None:
    seconds = {"powerdown_seconds": 25, "quit_seconds": 5, "terminate_seconds": 7, zero: 0}
    assert stop(Shutdown(**seconds)).came == came


def test_without_any_step_it_is_killed_at_once() -> None:
    made = stop(Shutdown(powerdown_seconds=0, quit_seconds=0, terminate_seconds=0))
    assert (made.came, made.step) == ([(0, "SIGKILL")], StopStep.KILL)


def test_one_second_is_a_step() -> None:
    made = stop(Shutdown(powerdown_seconds=1, quit_seconds=1, terminate_seconds=1))
    assert [name for _, name in made.came] == ["system_powerdown", "quit", "SIGTERM", "SIGKILL"]


@pytest.mark.parametrize(
    ("command", "step"), [("system_powerdown", StopStep.POWERDOWN), ("quit", StopStep.QUIT)]
)
def test_the_step_that_ends_it_is_the_last_and_is_named(command: str, step: StopStep) -> None:
    def end_by_it(qemu: QmpServer, _: StopRequest, process: FakeProcess) -> None:
        note = qemu.on_command

        def hear(name: str) -> None:
            note(name)
            if name == command:
                asyncio.get_running_loop().call_later(2, process.end)

        qemu.on_command = hear

    made = stop(set_up=end_by_it)
    assert made.step is step
    assert made.came[-1][1] == command
    assert made.lasted == made.came[-1][0] + 2


def test_sigterm_is_named_where_it_ends_it() -> None:
    made = stop(deadly=(signal.SIGTERM, signal.SIGKILL))
    assert (made.step, made.came[-1]) == (StopStep.TERMINATE, (30, "SIGTERM"))


def test_each_further_request_skips_the_time_of_one_step() -> None:
    def hurry(_: QmpServer, request: StopRequest, __: FakeProcess) -> None:
        for seconds in (3, 4):
            asyncio.get_running_loop().call_later(seconds, request.ask)

    assert stop(set_up=hurry).came == [
        (0, "system_powerdown"),
        (3, "quit"),
        (4, "SIGTERM"),
        (11, "SIGKILL"),
    ]


def test_the_first_request_hurries_nothing() -> None:
    async def scenario() -> None:
        request = StopRequest()
        request.ask()
        assert request.requested.is_set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(60):
                await request.hurried()
                raise AssertionError("hurried")
        request.ask()
        await request.hurried()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await request.hurried()

    run_virtually(scenario())


def test_a_paused_guest_is_not_asked() -> None:
    def pause(qemu: QmpServer, *_: object) -> None:
        qemu.state = "paused"

    assert stop(set_up=pause).came == [(0, "quit"), (5, "SIGTERM"), (12, "SIGKILL")]


def test_a_qemu_that_does_not_answer_is_asked_all_the_same() -> None:
    def be_silent(qemu: QmpServer, *_: object) -> None:
        qemu.answering.clear()

    made = stop(set_up=be_silent)
    # This server reads the next command when it has answered: none is seen before the signals.
    assert made.came[:2] == [(2 + 25 + 5, "SIGTERM"), (2 + 25 + 5 + 7, "SIGKILL")]


def test_an_error_instead_of_the_status_is_no_pause() -> None:
    def fail(qemu: QmpServer, *_: object) -> None:
        qemu.errors = {"query-status": "no"}

    assert stop(set_up=fail).came[0] == (0, "system_powerdown")


def test_a_qemu_that_has_hung_up_is_sent_signals() -> None:
    async def scenario() -> list[int]:
        process = FakeProcess(deadly=STUBBORN)
        async with guest_without_qemu(process=process) as (guest, qemu):
            qemu.hang_up()
            await guest.qmp.drain()
            began = asyncio.get_running_loop().time()
            assert await stop_guest(guest, TIMES, StopRequest()) is StopStep.KILL
            # No other step has its time.
            assert round(asyncio.get_running_loop().time() - began) == TIMES.terminate_seconds
        return process.received

    assert run_virtually(scenario()) == [signal.SIGTERM, signal.SIGKILL]


def test_a_process_that_is_gone_is_not_an_error() -> None:
    class Gone(FakeProcess):
        def _send(self, number: int) -> None:
            asyncio.get_running_loop().call_later(1, self.end)
            raise ProcessLookupError

    async def scenario() -> list[StopStep]:
        steps = []
        for seconds in (0, 7):
            async with guest_without_qemu(process=Gone()) as (guest, _):
                times = Shutdown(powerdown_seconds=0, quit_seconds=0, terminate_seconds=seconds)
                steps.append(await stop_guest(guest, times, StopRequest()))
        return steps

    assert run_virtually(scenario()) == [StopStep.KILL, StopStep.TERMINATE]


def test_a_fault_of_a_step_is_reported_and_the_next_one_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    times = Shutdown(powerdown_seconds=0, quit_seconds=1, terminate_seconds=60)
    unseen: list[object] = []

    async def scenario() -> StopStep:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: unseen.append(type(context["exception"]))
        )
        async with guest_without_qemu(process=FakeProcess()) as (guest, _):

            async def fail(*_: Any, **__: Any) -> None:
                raise LookupError("a fault")

            monkeypatch.setattr(guest.qmp, "execute", fail)
            step = await stop_guest(guest, times, StopRequest())
            gc.collect()
            return step

    assert run_virtually(scenario()) is StopStep.TERMINATE
    assert unseen == [LookupError]
