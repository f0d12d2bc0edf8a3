"""What ends a guest's run: its own end, a stop, KVM, or a QEMU that cannot go on."""

from __future__ import annotations

import asyncio
import signal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from support.fake_process import FakeProcess
from support.qmp_server import guest_without_qemu
from support.virtual_time import run_virtually

from ectools.notify import Notifier
from ectools.vm.argv import Accelerator
from ectools.vm.guest import GuestError
from ectools.vm.health import Health
from ectools.vm.kvm import KvmFailure, Trouble
from ectools.vm.status_line import StatusLine
from ectools.vm.stop import StopRequest
from ectools.vm.watch import watch_guest

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.qmp_server import QmpServer

    from ectools.vm.boot_server import BootServer
    from ectools.vm.guest import Guest
    from ectools.vm.settings import GuestSettings

USERNET = "  TCP[ESTABLISHED]   31       10.0.2.15  1080       10.0.2.2  8080     0     0\n"
MSR = "qemu-system-x86_64: error: failed to set MSR 0x10a to 0x69"


class Run:
    """One guest that is watched. A scenario is given this when the watch has begun."""

    guest: Guest
    qemu: QmpServer
    process: FakeProcess

    def __init__(self, settings: GuestSettings, *, accelerator: Accelerator) -> None:
        self.settings = settings
        self.accelerator = accelerator
        self.stop = StopRequest()
        self.requested = asyncio.Event()

    def at(self, seconds: float, call: Callable[..., object], *arguments: Any) -> None:
        """Call something so many seconds after the beginning."""
        asyncio.get_running_loop().call_later(seconds, call, *arguments)

    def make_progress(self) -> None:
        self.qemu.answers["human-monitor-command"] = USERNET

    def shut_down(self, reason: str, returncode: int = 0) -> None:
        """QEMU says why, hangs up and ends."""
        self.qemu.send_event("SHUTDOWN", {"reason": reason})
        self.qemu.hang_up()
        self.process.end(returncode)


def watch(
    settings: GuestSettings,
    script: Callable[[Run], None],
    *,
    accelerator: Accelerator = Accelerator.KVM,
) -> KvmFailure | None:
    """Watch a guest to its end; what ``script`` arranges happens meanwhile."""

    async def scenario() -> KvmFailure | None:
        run = Run(settings, accelerator=accelerator)
        run.process = FakeProcess()
        async with guest_without_qemu(process=run.process, accelerator=accelerator) as (run.guest, run.qemu):
            run.qemu.answers = {"human-monitor-command": "", "query-blockstats": []}
            notifier = Notifier()
            health = Health(run.guest, notifier=notifier, status=StatusLine(notifier), runs="the guest runs")
            script(run)
            return await watch_guest(
                run.guest,
                settings=settings,
                server=cast("BootServer", SimpleNamespace(requested=run.requested)),
                stop=run.stop,
                health=health,
            )

    return run_virtually(scenario())


@pytest.fixture
def settings(settings_of: Callable[..., GuestSettings]) -> GuestSettings:
    return settings_of({"boot": {"progressSeconds": 90}, "shutdown": {"powerdownSeconds": 30}})


@pytest.mark.parametrize("accelerator", list(Accelerator))
def test_a_guest_that_powers_itself_off_has_ended_in_order(
    accelerator: Accelerator, settings: GuestSettings, told: Any
) -> None:
    def script(run: Run) -> None:
        run.at(5, run.shut_down, "guest-shutdown")

    assert watch(settings, script, accelerator=accelerator) is None
    assert ("info", "the guest powered itself off") in told.events()


def test_any_other_end_is_an_error_with_the_last_lines(settings: GuestSettings) -> None:
    def script(run: Run) -> None:
        run.guest.record.on_stderr("qemu: something broke")
        run.at(5, run.process.end, 1)

    with pytest.raises(GuestError, match="QEMU ended: exit status 1\n  qemu: qemu: something broke"):
        watch(settings, script)


def test_a_death_before_any_progress_is_kvms_where_it_looks_so(settings: GuestSettings) -> None:
    def script(run: Run) -> None:
        run.guest.record.on_stderr(MSR)
        run.at(5, run.process.end, -signal.SIGABRT)

    assert watch(settings, script) == KvmFailure(trouble=Trouble.ABORTED, detail=MSR)
    with pytest.raises(GuestError, match="killed by SIGABRT"):
        watch(settings, script, accelerator=Accelerator.TCG)


def test_a_death_after_progress_is_the_guests(settings: GuestSettings, told: Any) -> None:
    def script(run: Run) -> None:
        run.make_progress()
        run.guest.record.on_stderr(MSR)
        run.at(5, run.process.end, -signal.SIGABRT)

    with pytest.raises(GuestError, match="killed by SIGABRT"):
        watch(settings, script)
    assert [fields for _, event, fields in told.take() if event == "KVM carries the guest"] == [
        {"progress": "a connection of the user-mode network (TCP[ESTABLISHED])"}
    ]


def test_a_request_to_the_boot_server_is_progress(settings: GuestSettings, told: Any) -> None:
    def script(run: Run) -> None:
        run.at(5, run.requested.set)
        run.at(200, run.shut_down, "guest-shutdown")

    assert watch(settings, script) is None
    assert [fields for _, event, fields in told.take() if event == "KVM carries the guest"] == [
        {"progress": "a request to the boot HTTP server"}
    ]


def test_without_progress_within_its_time_kvm_does_not_carry_the_guest(settings: GuestSettings) -> None:
    def script(run: Run) -> None:
        run.at(settings.boot.progress_seconds + 1, run.requested.set)

    assert watch(settings, script) == KvmFailure(trouble=Trouble.NO_PROGRESS, detail="90 s, status running")


def test_a_qemu_that_does_not_answer_makes_no_progress(settings: GuestSettings) -> None:
    def script(run: Run) -> None:
        run.qemu.answering.clear()

    failure = watch(settings, script)
    assert failure == KvmFailure(trouble=Trouble.NO_PROGRESS, detail="90 s, status no answer")


def test_under_tcg_nothing_is_expected_of_the_first_boot(settings: GuestSettings, told: Any) -> None:
    def script(run: Run) -> None:
        run.at(1000, run.shut_down, "guest-reset")

    assert watch(settings, script, accelerator=Accelerator.TCG) is None
    assert told.events() == [("info", "the guest rebooted, which its arguments make an end")]


def test_a_guest_that_kvm_stops_is_its_failure_before_progress_and_an_end_after_it(
    settings: GuestSettings,
) -> None:
    def stop_it(run: Run) -> None:
        run.qemu.state = "internal-error"
        run.qemu.send_event("STOP")
        run.guest.record.on_stderr("KVM internal error. Suberror: 1")

    def early(run: Run) -> None:
        run.at(5, stop_it, run)

    def late(run: Run) -> None:
        run.make_progress()
        run.at(5, stop_it, run)

    assert watch(settings, early) == KvmFailure(
        trouble=Trouble.STOPPED, detail="status internal-error: KVM internal error. Suberror: 1"
    )
    with pytest.raises(
        GuestError, match=r"the guest cannot go on: internal-error\n  qemu: KVM internal error\. Suberror: 1"
    ):
        watch(settings, late)
    with pytest.raises(GuestError, match="the guest cannot go on: internal-error"):
        watch(settings, early, accelerator=Accelerator.TCG)


@pytest.mark.parametrize(
    ("hears", "level", "how"),
    [
        (True, "info", "asked the guest to power itself down"),
        (False, "warning", "told QEMU to quit"),
    ],
)
def test_a_stop_ends_it_and_says_how(
    hears: bool, level: str, how: str, settings: GuestSettings, told: Any, manager: Any
) -> None:
    def script(run: Run) -> None:
        run.make_progress()

        def hear(name: str) -> None:
            if name == ("system_powerdown" if hears else "quit"):
                run.at(1, run.shut_down, "guest-shutdown")

        run.qemu.on_command = hear
        run.at(5, run.stop.ask)

    assert watch(settings, script) is None
    assert told.take()[-1] == (level, "the guest has ended", {"how": how})
    heard = manager.heard()
    assert heard[heard.index("STOPPING=1") + 1] == "STATUS=stopping the guest"


def test_an_end_that_comes_with_a_stop_is_the_end(settings: GuestSettings, manager: Any) -> None:
    def script(run: Run) -> None:
        run.at(5, run.stop.ask)
        run.at(5, run.shut_down, "guest-shutdown")

    assert watch(settings, script) is None
    assert "STOPPING=1" not in manager.heard()
