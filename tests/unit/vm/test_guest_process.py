"""One QEMU: how it is started, what is asked of it, what its end means."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from support.fake_process import FakeProcess
from support.qmp_server import QmpServer, guest_without_qemu
from support.virtual_time import run_virtually

from ectools.ipxe.urls import FAILURE_MARK
from ectools.vm import guest as module
from ectools.vm.argv import Accelerator, Tap
from ectools.vm.guest import Guest, GuestError, GuestLog, Launch, explain_end, start_guest
from ectools.vm.kvm import RESETS_IN_A_ROW, FirstBoot
from ectools.vm.qmp import QmpError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from ectools.vm.settings import GuestSettings


class Qemu:
    """What ``start_async`` is asked to start: a process, its outputs, and QMP on its socket."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.deadly: tuple[int, ...] = (signal.SIGTERM, signal.SIGKILL)
        self.argv: list[str] = []
        self.more: dict[str, Any] = {}
        monkeypatch.setattr(module, "start_async", self._start)

    @contextlib.asynccontextmanager
    async def _start(self, argv: list[str], **more: Any) -> AsyncIterator[FakeProcess]:
        self.argv, self.more = argv, more
        self.outputs = [os.dup(more[name]) for name in ("stdout", "stderr") if more[name] is not None]
        channel = socket.socket(fileno=os.dup(more["pass_fds"][0]))
        self.process = Process(self, deadly=self.deadly)
        self.qmp = QmpServer(channel)
        serving = asyncio.create_task(self.qmp.run())
        try:
            yield self.process
        finally:
            serving.cancel()
            channel.close()

    def write(self, *texts: bytes) -> None:
        for descriptor, text in zip(self.outputs, texts, strict=False):
            os.write(descriptor, text)

    def close(self) -> None:
        self.qmp.hang_up()
        while self.outputs:
            os.close(self.outputs.pop())


class Process(FakeProcess):
    """With it end its outputs and its connection."""

    def __init__(self, qemu: Qemu, *, deadly: tuple[int, ...]) -> None:
        super().__init__(deadly=deadly)
        self._qemu = qemu

    def end(self, returncode: int = 0) -> None:
        super().end(returncode)
        self._qemu.close()


@pytest.fixture
def qemu(monkeypatch: pytest.MonkeyPatch) -> Qemu:
    return Qemu(monkeypatch)


def launch_of(settings: GuestSettings, **more: Any) -> Launch:
    return Launch(settings=settings, accelerator=Accelerator.TCG, program="/bin/qemu", **more)


def test_qemu_is_started_with_a_socket_and_two_outputs(
    qemu: Qemu, settings_of: Callable[..., GuestSettings], monkeypatch: pytest.MonkeyPatch, told: Any
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials")

    async def scenario() -> Guest:
        async with start_guest(launch_of(settings_of(), secrets=("s3cret",)), term_seconds=7) as guest:
            await guest.connect()
            assert await guest.status() == "running"
            qemu.write(b"on the console, s3cret\n", b"on stderr, s3cret\n")
            await asyncio.sleep(1)
        return guest

    guest = run_virtually(scenario())
    assert qemu.argv[0] == "/bin/qemu"
    (descriptor,) = qemu.more["pass_fds"]
    assert f"socket,id=qmp,fd={descriptor}" in qemu.argv
    assert qemu.more["stdin"] == subprocess.DEVNULL
    assert qemu.more["new_session"] is True
    assert qemu.more["term_seconds"] == 7
    assert "CREDENTIALS_DIRECTORY" not in qemu.more["env"]
    assert qemu.process.received == [signal.SIGTERM]
    assert guest.record.console.lines() == ["on the console, ***"]
    assert guest.record.stderr.lines() == ["on stderr, ***"]
    assert ("info", "console", {"line": "on the console, ***"}) in told.take()


def test_on_a_terminal_qemu_has_the_terminal(qemu: Qemu, settings_of: Callable[..., GuestSettings]) -> None:
    async def scenario() -> None:
        async with start_guest(launch_of(settings_of(), interactive=True), term_seconds=7):
            await asyncio.sleep(1)

    run_virtually(scenario())
    assert (qemu.more["stdin"], qemu.more["stdout"], qemu.more["new_session"]) == (None, None, False)
    assert qemu.more["stderr"] is not None


def test_the_lans_device_is_passed_on(qemu: Qemu, settings_of: Callable[..., GuestSettings]) -> None:
    settings = settings_of({"lan": {"enable": True, "macvtap": {"interface": "eth0"}}})

    async def scenario() -> None:
        launch = launch_of(settings, tap=Tap(fd=55, mac="02:ec:00:00:00:01"))
        async with start_guest(launch, term_seconds=7):
            await asyncio.sleep(1)

    run_virtually(scenario())
    assert qemu.more["pass_fds"][1:] == [55]
    assert "tap,id=lan0,fd=55,vhost=off" in qemu.argv


def test_descriptors_are_closed_at_the_end(qemu: Qemu, settings_of: Callable[..., GuestSettings]) -> None:
    async def scenario() -> None:
        before = os.listdir("/proc/self/fd")
        async with start_guest(launch_of(settings_of()), term_seconds=7) as guest:
            await guest.connect()
        await asyncio.sleep(1)
        assert os.listdir("/proc/self/fd") == before

    run_virtually(scenario())


def test_a_qemu_that_does_not_start_leaves_nothing(
    settings_of: Callable[..., GuestSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.asynccontextmanager
    async def fail(*_: object, **__: object) -> AsyncIterator[None]:
        raise LookupError
        yield

    monkeypatch.setattr(module, "start_async", fail)

    async def scenario() -> None:
        before = os.listdir("/proc/self/fd")
        with pytest.raises(LookupError):
            async with start_guest(launch_of(settings_of()), term_seconds=7):
                pass
        await asyncio.sleep(1)
        assert os.listdir("/proc/self/fd") == before

    run_virtually(scenario())


def test_all_that_qemu_said_before_its_end_counts(
    qemu: Qemu, settings_of: Callable[..., GuestSettings]
) -> None:
    async def scenario() -> Guest:
        async with start_guest(launch_of(settings_of()), term_seconds=7) as guest:
            await guest.connect()
            qemu.qmp.send_event("SHUTDOWN", {"reason": "guest-shutdown"})
            qemu.write(b"", b"without a newline")
            qemu.process.end(0)
            assert await guest.wait() == 0
            assert guest.shutdown_reason == "guest-shutdown"
            assert guest.record.stderr.lines() == ["without a newline"]
        assert qemu.process.received == []
        return guest

    run_virtually(scenario())


def test_outputs_that_somebody_else_holds_are_left_after_three_seconds(
    qemu: Qemu, settings_of: Callable[..., GuestSettings]
) -> None:
    async def scenario() -> None:
        async with start_guest(launch_of(settings_of()), term_seconds=7) as guest:
            await guest.connect()
            held = os.dup(qemu.outputs[1])
            loop = asyncio.get_running_loop()
            qemu.process.end(1)
            began = loop.time()
            assert await guest.wait() == 1
            assert 3 <= loop.time() - began < 4
            os.close(held)

    run_virtually(scenario())


def test_a_machine_that_is_being_set_up_has_not_started() -> None:
    async def scenario() -> list[str]:
        async with guest_without_qemu() as (guest, qemu):
            qemu.state = "prelaunch"
            waiting = asyncio.create_task(guest.wait_started())
            await asyncio.sleep(5)
            assert not waiting.done()
            qemu.send_event("VNC_CONNECTED")
            await asyncio.sleep(5)
            assert not waiting.done()
            qemu.state = "paused"
            qemu.send_event("RESUME")
            assert await waiting == "paused"
            return qemu.asked

    assert run_virtually(scenario()) == ["query-status"] * 3


def test_events_set_what_is_waited_for() -> None:
    async def scenario() -> None:
        async with guest_without_qemu() as (guest, qemu):
            for name in ("STOP", "RESUME", "SUSPEND", "WAKEUP"):
                guest.state_changed.clear()
                guest.changed.clear()
                qemu.send_event(name)
                await asyncio.sleep(1)
                assert guest.state_changed.is_set(), name
                assert guest.changed.is_set(), name
            guest.state_changed.clear()
            guest.changed.clear()
            qemu.send_event("NIC_RX_FILTER_CHANGED")
            await asyncio.sleep(1)
            assert (guest.state_changed.is_set(), guest.changed.is_set()) == (False, True)
            for _ in range(RESETS_IN_A_ROW + 1):
                qemu.send_event("RESET")
                await asyncio.sleep(1)
            assert len(guest.resets) == RESETS_IN_A_ROW
            assert guest.resets[-1] - guest.resets[0] == pytest.approx(RESETS_IN_A_ROW - 1, abs=0.1)
            qemu.send_event("SHUTDOWN", {"reason": "x" * 1000})
            await asyncio.sleep(1)
            assert guest.shutdown_reason == "x" * 64

    run_virtually(scenario())


def test_a_panic_and_a_failed_disk_are_in_the_log(told: Any) -> None:
    async def scenario() -> None:
        async with guest_without_qemu() as (_, qemu):
            qemu.send_event("GUEST_PANICKED", {"action": "pause"})
            qemu.send_event("BLOCK_IO_ERROR", {"device": "disk0"})
            await asyncio.sleep(1)

    run_virtually(scenario())
    assert told.take() == [
        ("error", "the guest's kernel panicked", {"data": {"action": "pause"}}),
        ("error", "the guest's disk failed", {"data": {"device": "disk0"}}),
    ]


CONNECTION = "  TCP[ESTABLISHED]   31       10.0.2.15  1080       10.0.2.2  8080     0     0\n"
READ = [{"node-name": "disk0", "stats": {"rd_operations": 1}}]


@pytest.mark.parametrize(
    ("usernet", "stats", "progress"),
    [
        ("", [], None),
        (CONNECTION, [], "a connection of the user-mode network (TCP[ESTABLISHED])"),
        ("", READ, "a read from the disk disk0"),
        (CONNECTION, READ, "a connection of the user-mode network (TCP[ESTABLISHED])"),
    ],
)
def test_a_look_at_the_first_boot(usernet: str, stats: list[Any], progress: str | None) -> None:
    async def scenario() -> FirstBoot:
        async with guest_without_qemu() as (guest, qemu):
            qemu.answers = {"human-monitor-command": usernet, "query-blockstats": stats}
            return await guest.look()

    assert run_virtually(scenario()) == FirstBoot(status="running", resets=(), progress=progress)


def test_a_look_at_a_qemu_that_does_not_answer_or_answers_with_an_error() -> None:
    async def scenario() -> list[FirstBoot]:
        async with guest_without_qemu() as (guest, qemu):
            qemu.errors = {"query-status": "no"}
            found = [await guest.look()]
            qemu.errors = {"query-blockstats": "no"}
            qemu.answers = {"human-monitor-command": CONNECTION}
            found.append(await guest.look())
            loop = asyncio.get_running_loop()
            began = loop.time()
            qemu.answering.clear()
            found.append(await guest.look())
            assert 20 <= loop.time() - began < 21
            return found

    assert run_virtually(scenario()) == [
        FirstBoot(status=status, resets=(), progress=None) for status in ("no answer", "running", "no answer")
    ]


def test_a_status_of_another_shape_is_an_error_and_a_long_one_cut() -> None:
    async def scenario() -> None:
        async with guest_without_qemu() as (guest, qemu):
            qemu.state = "y" * 1000
            assert await guest.status() == "y" * 64
            for answer in ([], 7, "text"):
                guest.qmp.execute = give(answer)  # type: ignore[method-assign]
                with pytest.raises(QmpError, match=r"query-status: .* has no status"):
                    await guest.status()

    run_virtually(scenario())


def give(answer: object) -> Any:
    async def execute(*_: object, **__: object) -> object:
        return answer

    return execute


@pytest.mark.parametrize(
    ("reason", "event"),
    [
        ("guest-shutdown", "the guest powered itself off"),
        ("guest-reset", "the guest rebooted, which its arguments make an end"),
        ("host-qmp-quit", "QEMU was told to quit on a monitor"),
        ("host-ui", "QEMU was told to quit on its console"),
    ],
)
def test_an_end_in_order(reason: str, event: str) -> None:
    assert explain(0, reason) == event
    with pytest.raises(GuestError, match=f"QEMU ended: exit status 1, reason {reason}"):
        explain(1, reason)


@pytest.mark.parametrize(
    ("returncode", "reason", "message"),
    [
        (0, None, "QEMU ended: exit status 0"),
        (0, "host-signal", "QEMU ended: exit status 0, reason host-signal"),
        (0, "guest-panic", "the guest's kernel panicked"),
        (-signal.SIGKILL, None, "QEMU ended: killed by SIGKILL"),
    ],
)
def test_an_end_out_of_order(returncode: int, reason: str | None, message: str) -> None:
    with pytest.raises(GuestError) as caught:
        explain(returncode, reason)
    assert caught.value.message == f"{message}\n  console: the last line"


def explain(returncode: int, reason: str | None) -> str:
    async def scenario() -> str:
        async with guest_without_qemu() as (guest, _):
            guest.shutdown_reason = reason
            guest.record.on_console("the last line")
            return explain_end(guest, returncode)

    return run_virtually(scenario())


def test_qemus_own_lines_come_before_the_consoles() -> None:
    async def scenario() -> list[str]:
        with contextlib.closing(GuestLog()) as record:
            found = [record.output_tail()]
            record.on_console("console")
            found.append(record.output_tail())
            record.on_stderr("qemu")
            return [*found, record.output_tail()]

    assert run_virtually(scenario()) == ["", "\n  console: console", "\n  qemu: qemu"]


def test_what_kvm_says_is_waited_for_a_second_and_the_first_line_of_it_kept() -> None:
    async def scenario() -> list[object]:
        loop = asyncio.get_running_loop()
        with contextlib.closing(GuestLog()) as record:
            record.on_stderr("another line")
            began = loop.time()
            found: list[object] = [await record.wait_kvm_error(), round(loop.time() - began)]
            loop.call_later(0.5, record.on_stderr, "KVM internal error. Suberror: 1")
            found.append(await record.wait_kvm_error())
            record.on_stderr("KVM internal error. Suberror: 2")
            return [*found, await record.wait_kvm_error()]

    first = "KVM internal error. Suberror: 1"
    assert run_virtually(scenario()) == ["", 1, first, first]


def test_a_boot_that_failed_is_in_the_log_as_an_error(told: Any) -> None:
    async def scenario() -> None:
        with contextlib.closing(GuestLog()) as record:
            record.on_console(FAILURE_MARK)
            record.on_stderr("a warning")

    run_virtually(scenario())
    assert told.take() == [
        ("info", "console", {"line": FAILURE_MARK}),
        ("error", "the guest did not boot from the network; its iPXE waits in a shell", {}),
        ("warning", "qemu", {"line": "a warning"}),
    ]


def test_events_have_a_limit_of_bytes_as_well_and_each_kind_its_own(told: Any) -> None:
    """100 kB at once."""

    async def scenario() -> list[list[str]]:
        found = []
        with contextlib.closing(GuestLog()) as record:
            for _ in range(3):
                record.report("the disk failed", {"device": "x" * 60_000})
            found.append([event for _, event, _ in told.take()])
            for _ in range(3):
                record.report_state(module._log.info, "the guest is paused", status="x" * 60_000)
            found.append([event for _, event, _ in told.take()])
        return found

    left_out = "lines left out of the log: more was written than it takes"
    assert run_virtually(scenario()) == [["the disk failed", left_out], ["the guest is paused", left_out]]
