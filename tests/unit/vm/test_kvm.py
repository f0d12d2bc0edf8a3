"""KVM's failures, told apart by what QEMU 7.2 was seen to say and do."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest

from ectools.vm.kvm import (
    FirstBoot,
    KvmError,
    KvmFailure,
    Trouble,
    classify_death,
    diagnose_first_boot,
    probe_kvm,
    watch_first_boot,
)

if TYPE_CHECKING:
    from pathlib import Path

MSR = [
    "qemu-system-x86_64: error: failed to set MSR 0x10a to 0x69",
    "qemu-system-x86_64: kvm.c:3183: kvm_buf_set_msrs: Assertion `ret == cpu->kvm_msr_buf->nmsrs' failed.",
]
NO_DEVICE = [
    "Could not access KVM kernel module: No such file or directory",
    "qemu-system-x86_64: failed to initialize kvm: No such file or directory",
]
DENIED = [
    "Could not access KVM kernel module: Permission denied",
    "qemu-system-x86_64: failed to initialize kvm: Permission denied",
]


@pytest.mark.parametrize(
    ("returncode", "stderr", "trouble", "detail"),
    [
        (-signal.SIGABRT, MSR, Trouble.ABORTED, MSR[0]),
        (-signal.SIGABRT, [], Trouble.ABORTED, ""),
        (-signal.SIGSEGV, ["kvm_init_vcpu: something"], Trouble.ABORTED, "kvm_init_vcpu: something"),
        (1, NO_DEVICE, Trouble.NOT_INITIALIZED, NO_DEVICE[0]),
        (1, DENIED, Trouble.NO_PERMISSION, DENIED[0]),
        (
            1,
            ["qemu-system-x86_64: invalid accelerator kvm"],
            Trouble.NOT_INITIALIZED,
            "qemu-system-x86_64: invalid accelerator kvm",
        ),
        (
            1,
            ["qemu-system-x86_64: kvm_init_vcpu: kvm_get_vcpu failed (0): Invalid argument"],
            Trouble.ABORTED,
            "qemu-system-x86_64: kvm_init_vcpu: kvm_get_vcpu failed (0): Invalid argument",
        ),
    ],
)
def test_a_death_of_kvm(returncode: int, stderr: list[str], trouble: Trouble, detail: str) -> None:
    assert classify_death(returncode, stderr) == KvmFailure(trouble=trouble, detail=detail)


@pytest.mark.parametrize(
    ("returncode", "stderr"),
    [
        (0, []),
        (1, ["qemu-system-x86_64: -device foo: 'foo' is not a valid device model name"]),
        (-signal.SIGKILL, []),
        (-signal.SIGTERM, MSR),
        (-signal.SIGSEGV, ["something else"]),
        (
            1,
            ["qemu-system-x86_64: warning: host doesn't support requested feature: CPUID.01H:ECX.pni"],
        ),
    ],
)
def test_a_death_of_something_else(returncode: int, stderr: list[str]) -> None:
    assert classify_death(returncode, stderr) is None


@pytest.mark.parametrize(
    ("status", "resets", "trouble"),
    [
        ("running", (), None),
        ("no answer", (), None),
        ("internal-error", (), Trouble.STOPPED),
        ("paused", (), Trouble.STOPPED),
        # A triple fault and the firmware's own reset after it are one; a guest may reset once.
        ("running", (20.0, 20.1), None),
        ("running", (20.0, 20.1, 40.0), Trouble.RESETS),
        ("running", (1.0, 1.3, 1.6, 1.9, 2.2), None),
        ("running", (1.0, 1.3, 1.6, 1.9, 2.2, 2.5), Trouble.RESETS),
    ],
)
def test_a_first_boot_is_judged(status: str, resets: tuple[float, ...], trouble: Trouble | None) -> None:
    failure = diagnose_first_boot(FirstBoot(status=status, resets=resets, progress=None))
    assert (failure and failure.trouble) == trouble


def test_the_device_is_probed(tmp_path: Path) -> None:
    assert probe_kvm(str(tmp_path / "kvm")) == KvmFailure(trouble=Trouble.MISSING)
    (tmp_path / "kvm").write_text("")
    assert probe_kvm(str(tmp_path / "kvm")) is None
    (tmp_path / "kvm").chmod(0)
    if os.geteuid() != 0:
        assert probe_kvm(str(tmp_path / "kvm")) == KvmFailure(trouble=Trouble.NO_PERMISSION)


def test_a_required_kvm_says_what_to_do() -> None:
    error = KvmError(KvmFailure(trouble=Trouble.ABORTED, detail=MSR[0]))
    assert "QEMU died while it set up the guest under KVM (qemu-system-x86_64: error: failed" in error.message
    assert "services.every-channel.ipxe-qemu.requireKvm" in (error.hint or "")
    assert error.exit_code == 1


class Guest:
    """Run states in turn; the last one stays."""

    def __init__(self, *boots: FirstBoot) -> None:
        self.boots = list(boots)
        self.changed = asyncio.Event()

    async def look(self) -> FirstBoot:
        return self.boots.pop(0) if len(self.boots) > 1 else self.boots[0]


async def said() -> str:
    return "KVM internal error. Suberror: 1"


RUNNING = FirstBoot(status="running", resets=(), progress=None)


def watch(guest: Guest, seconds: float) -> KvmFailure | str:
    return asyncio.run(watch_first_boot(guest.look, changed=guest.changed, seconds=seconds, said=said))


def test_progress_ends_the_watch() -> None:
    assert watch(Guest(RUNNING, FirstBoot(status="running", resets=(), progress="a read")), 3600) == "a read"


def test_progress_counts_even_where_the_guest_has_stopped_since() -> None:
    """From then on it is the guest's own end, not KVM's."""
    assert watch(Guest(FirstBoot(status="paused", resets=(), progress="a read")), 3600) == "a read"


def test_no_progress_is_a_failure_after_its_time() -> None:
    failure = watch(Guest(RUNNING), 0.05)
    assert failure == KvmFailure(trouble=Trouble.NO_PROGRESS, detail="0.05 s, status running")


def test_an_event_is_looked_at_at_once() -> None:
    """Not at the next poll: the event is set while the watch waits."""
    guest = Guest(RUNNING, FirstBoot(status="internal-error", resets=(), progress=None))

    async def scenario() -> KvmFailure | str:
        asyncio.get_running_loop().call_soon(guest.changed.set)
        async with asyncio.timeout(60):
            return await watch_first_boot(guest.look, changed=guest.changed, seconds=3600, said=said)

    assert asyncio.run(scenario()) == KvmFailure(
        trouble=Trouble.STOPPED, detail="status internal-error: KVM internal error. Suberror: 1"
    )
