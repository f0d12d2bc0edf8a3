"""A guest's run: the boot HTTP server, then QEMU under KVM or TCG, and what the service manager hears."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from support.fake_process import FakeProcess
from support.qmp_server import guest_without_qemu
from support.virtual_time import run_virtually

from ectools.errors import ProblemsError
from ectools.supervision import ChildState
from ectools.vm import supervise as module
from ectools.vm.argv import Accelerator, Tap
from ectools.vm.guest import GuestError, Launch
from ectools.vm.kvm import KvmError, KvmFailure, Trouble
from ectools.vm.qmp import QmpError
from ectools.vm.stop import StopRequest
from ectools.vm.supervise import BoundHttp, GuestPlan, choose_accelerator, fall_back, supervise

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from support.qmp_server import QmpServer

    from ectools.vm.guest import Guest
    from ectools.vm.settings import GuestSettings

NO_KVM = KvmFailure(trouble=Trouble.MISSING, detail="No such device")
TAP = Tap(fd=7, mac="02:ec:00:00:00:01")


class Host:
    """What a run starts: ``scripts`` are called with each QEMU in turn, once it is there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.launches: list[tuple[Launch, float]] = []
        self.servers: list[tuple[object, ...]] = []
        self.scripts: list[Callable[[Guest, QmpServer, FakeProcess], None]] = []
        self.kvm: KvmFailure | None = None
        self.stop = StopRequest()
        self.stop_while_server_starts = False
        self.server_state: Callable[[ChildState], None] = lambda _: None
        monkeypatch.setattr(module, "start_guest", self._start_guest)
        monkeypatch.setattr(module, "start_boot_server", self._start_boot_server)
        monkeypatch.setattr(module, "probe_kvm", lambda: self.kvm)

    @contextlib.asynccontextmanager
    async def _start_guest(self, launch: Launch, *, term_seconds: float) -> AsyncIterator[Guest]:
        self.launches.append((launch, term_seconds))
        process = FakeProcess()
        async with guest_without_qemu(process=process, accelerator=launch.accelerator, connected=False) as (
            guest,
            qemu,
        ):
            qemu.answers = {"human-monitor-command": "", "query-blockstats": []}
            self.scripts.pop(0)(guest, qemu, process)
            yield guest

    @contextlib.asynccontextmanager
    async def _start_boot_server(self, listener: object, root: Path, **more: Any) -> AsyncIterator[object]:
        self.servers.append((listener, root, len(self.launches)))
        self.server_state = more["changed"]
        assert more["unless"] is self.stop.requested
        if self.stop_while_server_starts:
            self.stop.ask()
        yield type("Server", (), {"requested": asyncio.Event()})()


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(monkeypatch)


def plan_of(settings: GuestSettings, *, http: BoundHttp | None = None) -> GuestPlan:
    return GuestPlan(
        settings=settings,
        program="/bin/qemu",
        http=http,
        tap=TAP,
        secrets=("s3cret",),
        interactive=True,
    )


def run(host: Host, plan: GuestPlan) -> None:
    async def scenario() -> None:
        host.stop = StopRequest()
        await supervise(plan, host.stop)

    run_virtually(scenario())


def power_off_later(_: Guest, qemu: QmpServer, process: FakeProcess) -> None:
    def power_off() -> None:
        qemu.send_event("SHUTDOWN", {"reason": "guest-shutdown"})
        qemu.hang_up()
        process.end()

    asyncio.get_running_loop().call_later(5, power_off)


@pytest.fixture
def http() -> BoundHttp:
    return BoundHttp(listener=cast("Any", "socket"), listen=cast("Any", None), root=Path("/srv/netboot"))


def test_the_server_first_then_the_guest_and_ready_once_it_runs(
    host: Host, settings_of: Callable[..., GuestSettings], http: BoundHttp, manager: Any, told: Any
) -> None:
    settings = settings_of({"shutdown": {"terminateSeconds": 7}})
    host.scripts = [power_off_later]
    run(host, plan_of(settings, http=http))
    assert host.servers == [("socket", Path("/srv/netboot"), 0)]
    assert host.launches == [
        (
            Launch(
                settings=settings,
                accelerator=Accelerator.KVM,
                program="/bin/qemu",
                tap=TAP,
                secrets=("s3cret",),
                interactive=True,
            ),
            7,
        )
    ]
    assert [message for message in manager.heard() if message != "WATCHDOG=1"] == [
        "STATUS=starting the boot HTTP server",
        "STATUS=starting the guest (kvm)",
        "READY=1",
        "STATUS=the guest runs (kvm)",
        "STATUS=the guest has ended",
    ]
    events = told.take()
    assert ("info", "QEMU started", {"pid": 1 << 30, "accelerator": "kvm"}) in events
    assert ("info", "the guest runs", {"accelerator": "kvm"}) in events


def test_a_boot_server_that_died_is_in_the_status(
    host: Host, settings_of: Callable[..., GuestSettings], http: BoundHttp, manager: Any
) -> None:
    def script(guest: Guest, qemu: QmpServer, process: FakeProcess) -> None:
        power_off_later(guest, qemu, process)
        for seconds, state in ((1, ChildState.RESTARTING), (2, ChildState.RUNNING)):
            asyncio.get_running_loop().call_later(seconds, host.server_state, state)

    host.scripts = [script]
    run(host, plan_of(settings_of(), http=http))
    heard = [message for message in manager.heard() if message.startswith("STATUS=the guest runs")]
    assert heard == [
        "STATUS=the guest runs (kvm)",
        "STATUS=the guest runs (kvm); the boot HTTP server died and is started again",
        "STATUS=the guest runs (kvm)",
    ]


def test_a_stop_before_the_server_answers_starts_no_guest(
    host: Host, settings_of: Callable[..., GuestSettings], http: BoundHttp
) -> None:
    host.stop_while_server_starts = True
    run(host, plan_of(settings_of(), http=http))
    assert host.launches == []


def test_a_stop_while_qemu_starts_ends_it_and_is_not_ready(
    host: Host, settings_of: Callable[..., GuestSettings], manager: Any
) -> None:
    def script(_: Guest, qemu: QmpServer, process: FakeProcess) -> None:
        qemu.state = "prelaunch"
        qemu.on_command = lambda name: process.end() if name == "quit" else None
        asyncio.get_running_loop().call_later(5, host.stop.ask)

    host.scripts = [script]
    run(host, plan_of(settings_of()))
    heard = manager.heard()
    assert "READY=1" not in heard
    assert "STOPPING=1" in heard


@pytest.mark.parametrize(("state", "ready"), [("running", True), ("suspended", True), ("paused", False)])
def test_only_a_guest_that_is_alive_is_ready(
    state: str, ready: bool, host: Host, settings_of: Callable[..., GuestSettings], manager: Any
) -> None:
    def script(guest: Guest, qemu: QmpServer, process: FakeProcess) -> None:
        qemu.state = state
        power_off_later(guest, qemu, process)

    host.scripts = [script]
    run(host, plan_of(settings_of({"enableKvm": False})))
    assert ("READY=1" in manager.heard()) is ready


def test_a_guest_that_kvm_does_not_carry_is_started_again_under_tcg(
    host: Host, settings_of: Callable[..., GuestSettings], manager: Any, told: Any
) -> None:
    def stopped(_: Guest, qemu: QmpServer, __: FakeProcess) -> None:
        qemu.state = "internal-error"

    host.scripts = [stopped, power_off_later]
    run(host, plan_of(settings_of()))
    assert [launch.accelerator for launch, _ in host.launches] == [Accelerator.KVM, Accelerator.TCG]
    assert "STATUS=starting the guest (tcg)" in manager.heard()
    assert (
        "warning",
        "KVM cannot be used; the guest runs under TCG, many times slower",
        {
            "reason": "KVM stopped the guest before it had booted",
            "detail": "status internal-error",
        },
    ) in told.take()


def test_required_kvm_that_does_not_carry_the_guest_is_an_error(
    host: Host, settings_of: Callable[..., GuestSettings]
) -> None:
    def stopped(_: Guest, qemu: QmpServer, __: FakeProcess) -> None:
        qemu.state = "internal-error"

    host.scripts = [stopped]
    with pytest.raises(KvmError, match="KVM is required and cannot be used: KVM stopped the guest"):
        run(host, plan_of(settings_of({"requireKvm": True})))
    assert len(host.launches) == 1


def test_the_accelerator_follows_the_policy_and_the_device(
    host: Host, settings_of: Callable[..., GuestSettings], told: Any
) -> None:
    assert choose_accelerator(settings_of({"enableKvm": False})) is Accelerator.TCG
    assert choose_accelerator(settings_of({})) is Accelerator.KVM
    assert choose_accelerator(settings_of({"requireKvm": True})) is Accelerator.KVM
    assert told.take() == []
    host.kvm = NO_KVM
    assert choose_accelerator(settings_of({"enableKvm": False})) is Accelerator.TCG
    assert told.take() == []
    assert choose_accelerator(settings_of({})) is Accelerator.TCG
    with pytest.raises(KvmError, match=r"/dev/kvm is missing \(No such device\)"):
        choose_accelerator(settings_of({"requireKvm": True}))
    ((level, event, fields),) = told.take()
    assert (level, fields) == ("warning", {"reason": Trouble.MISSING, "detail": "No such device"})
    assert event == "KVM cannot be used; the guest runs under TCG, many times slower"
    fall_back(settings_of({}), KvmFailure(trouble=Trouble.NO_PERMISSION))
    assert told.take()[0][2] == {"reason": Trouble.NO_PERMISSION}


def die(returncode: int, *stderr: str) -> Callable[[Guest, QmpServer, FakeProcess], None]:
    """A QEMU that hangs up instead of greeting, and ends a second later."""

    def script(guest: Guest, qemu: QmpServer, process: FakeProcess) -> None:
        for line in stderr:
            guest.record.on_stderr(line)
        qemu.greets = False
        asyncio.get_running_loop().call_later(1, process.end, returncode)

    return script


MISSING = "qemu-system-x86_64: failed to initialize kvm: No such file or directory"


def test_a_qemu_that_dies_of_kvm_before_it_greets_is_started_again_under_tcg(
    host: Host, settings_of: Callable[..., GuestSettings]
) -> None:
    host.scripts = [die(1, MISSING), power_off_later]
    run(host, plan_of(settings_of()))
    assert [launch.accelerator for launch, _ in host.launches] == [Accelerator.KVM, Accelerator.TCG]
    host.scripts = [die(1, MISSING)]
    with pytest.raises(GuestError, match=r"QEMU ended: exit status 1\n  qemu: .*failed to initialize kvm"):
        run(host, plan_of(settings_of({"enableKvm": False})))


def test_a_qemu_that_dies_before_it_greets_says_what_of(
    host: Host, settings_of: Callable[..., GuestSettings]
) -> None:
    host.scripts = [die(1, "qemu-system-x86_64: unsupported machine type")]
    with pytest.raises(ProblemsError) as caught:
        run(host, plan_of(settings_of()))
    assert caught.value.problems[0].option.endswith(".machine")
    host.scripts = [die(-signal.SIGSEGV, "the moon is full")]
    with pytest.raises(GuestError, match="QEMU ended: killed by SIGSEGV\n  qemu: the moon is full"):
        run(host, plan_of(settings_of()))


def test_a_qemu_that_hangs_up_and_lives_on_is_an_error_of_the_connection(
    host: Host, settings_of: Callable[..., GuestSettings]
) -> None:
    def script(_: Guest, qemu: QmpServer, __: FakeProcess) -> None:
        qemu.greets = False

    host.scripts = [script]
    with pytest.raises(QmpError, match="QEMU did not greet on QMP"):
        run(host, plan_of(settings_of()))


def test_an_orderly_end_before_it_greets_is_still_no_run(
    host: Host, settings_of: Callable[..., GuestSettings]
) -> None:
    def script(guest: Guest, qemu: QmpServer, process: FakeProcess) -> None:
        guest.shutdown_reason = "host-qmp-quit"
        die(0)(guest, qemu, process)

    host.scripts = [script]
    with pytest.raises(QmpError, match="QEMU did not greet on QMP"):
        run(host, plan_of(settings_of()))
