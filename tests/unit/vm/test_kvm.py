"""KVM's failures, told apart by what QEMU 7.2 was seen to say and do."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest
from support.virtual_time import run_virtually

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


async def kvm_error() -> str:
    return "KVM internal error. Suberror: 1"


RUNNING = FirstBoot(status="running", resets=(), progress=None)


def watch(guest: Guest, seconds: float) -> KvmFailure | str:
    return asyncio.run(
        watch_first_boot(guest.look, changed=guest.changed, seconds=seconds, kvm_error=kvm_error)
    )


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
            return await watch_first_boot(
                guest.look, changed=guest.changed, seconds=3600, kvm_error=kvm_error
            )

    assert asyncio.run(scenario()) == KvmFailure(
        trouble=Trouble.STOPPED, detail="status internal-error: KVM internal error. Suberror: 1"
    )


def test_the_device_is_opened_for_both_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    did: list[object] = []
    monkeypatch.setattr(os, "open", lambda *arguments: did.append(arguments) or 77)
    monkeypatch.setattr(os, "close", did.append)
    assert probe_kvm() is None
    assert did == [("/dev/kvm", os.O_RDWR | os.O_CLOEXEC), 77]


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (FileNotFoundError(2, "No such file"), KvmFailure(trouble=Trouble.MISSING)),
        (NotADirectoryError(20, "Not a directory"), KvmFailure(trouble=Trouble.MISSING)),
        (PermissionError(13, "Permission denied"), KvmFailure(trouble=Trouble.NO_PERMISSION)),
        (OSError(19, "No such device"), KvmFailure(trouble=Trouble.MISSING, detail="No such device")),
        (OSError("no words"), KvmFailure(trouble=Trouble.MISSING, detail="no words")),
    ],
)
def test_what_the_device_says(error: OSError, failure: KvmFailure, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise error

    monkeypatch.setattr(os, "open", fail)
    assert probe_kvm() == failure


@pytest.mark.parametrize(
    ("resets", "trouble"),
    [
        ((20.0, 25.0), None),
        ((20.0, 25.1), Trouble.RESETS),
        # Each within five seconds of the one before is one crash, however long it takes.
        ((20.0, 24.0, 28.0, 32.0), None),
        ((0.0,), None),
    ],
)
def test_resets_within_five_seconds_are_one(resets: tuple[float, ...], trouble: Trouble | None) -> None:
    failure = diagnose_first_boot(FirstBoot(status="running", resets=resets, progress=None))
    assert (failure and failure.trouble) == trouble
    if failure is not None:
        assert failure.detail == f"{len(resets)} resets"


@pytest.mark.parametrize(
    ("trouble", "hint"),
    [
        (Trouble.MISSING, "load kvm_intel or kvm_amd"),
        (Trouble.NO_PERMISSION, "the group kvm"),
        (Trouble.RESETS, "this machine's KVM does not carry the guest"),
    ],
)
def test_each_trouble_has_its_remedy(trouble: Trouble, hint: str) -> None:
    error = KvmError(KvmFailure(trouble=trouble))
    assert error.message == f"KVM is required and cannot be used: {trouble}"
    assert hint in str(error.hint)


@pytest.mark.parametrize(
    ("returncode", "stderr", "trouble"),
    [
        (1, ["error: kvm run failed"], Trouble.ABORTED),
        (0, ["error: kvm run failed"], None),
        (-signal.SIGILL, ["KVM"], Trouble.ABORTED),
        (-signal.SIGBUS, ["x kvm"], Trouble.ABORTED),
        (-signal.SIGKILL, ["KVM_CREATE"], None),
        (-signal.SIGABRT, ["first", "kvm second"], Trouble.ABORTED),
        (0, ["failed to initialize KVM: x"], Trouble.NOT_INITIALIZED),
        (1, ["Permission denied", "failed to initialize kvm"], Trouble.NOT_INITIALIZED),
    ],
)
def test_further_deaths(returncode: int, stderr: list[str], trouble: Trouble | None) -> None:
    failure = classify_death(returncode, stderr)
    assert (failure and failure.trouble) == trouble


def test_a_guest_is_looked_at_every_second_and_once_more_at_the_end() -> None:
    async def scenario() -> tuple[list[float], KvmFailure | str]:
        loop = asyncio.get_running_loop()
        began, looks = loop.time(), []

        async def look() -> FirstBoot:
            looks.append(round(loop.time() - began, 1))
            return RUNNING

        return looks, await watch_first_boot(look, changed=asyncio.Event(), seconds=2.5, kvm_error=kvm_error)

    looks, result = run_virtually(scenario())
    assert looks[:4] == [0, 1, 2, 2.5]
    assert result == KvmFailure(trouble=Trouble.NO_PROGRESS, detail="2.5 s, status running")


def test_what_kvm_says_is_asked_for_only_where_it_stopped_the_guest() -> None:
    resets = FirstBoot(status="running", resets=(1.0, 20.0), progress=None)
    assert watch(Guest(resets), 60) == KvmFailure(trouble=Trouble.RESETS, detail="2 resets")

    async def silence() -> str:
        return ""

    async def scenario() -> KvmFailure | str:
        guest = Guest(FirstBoot(status="paused", resets=(), progress=None))
        return await watch_first_boot(guest.look, changed=guest.changed, seconds=60, kvm_error=silence)

    assert run_virtually(scenario()) == KvmFailure(trouble=Trouble.STOPPED, detail="status paused")
