"""The diagnosis whether KVM carries the guest: before QEMU starts, at its death, and during the first boot.

That ``/dev/kvm`` opens is no proof. On nested and paravirtual hosts QEMU may abort while it sets up a
virtual CPU, stay alive with the guest stopped (``internal-error``), reset the guest over and over, or run
it so that it never gets anywhere.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from ectools.errors import EcError
from ectools.vm.settings import GUEST_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

DEVICE = "/dev/kvm"
_POLL_SECONDS = 1.0
# One crash of a guest makes several RESET events: the CPU's, then the firmware's own.
_RESET_GROUP_SECONDS = 5.0
RESETS_IN_A_ROW = 6


class Trouble(StrEnum):
    """The ways in which KVM does not carry a guest; the value is the log's words for it."""

    MISSING = f"{DEVICE} is missing"
    NO_PERMISSION = f"{DEVICE} cannot be opened: permission denied"
    NOT_INITIALIZED = "QEMU cannot initialize KVM"
    ABORTED = "QEMU died while it set up the guest under KVM"
    STOPPED = "KVM stopped the guest before it had booted"
    RESETS = "the guest was reset again and again before it had booted"
    NO_PROGRESS = "the guest made no progress"


_HINTS = {
    Trouble.MISSING: "turn on virtualization in the firmware, or on the hypervisor of this machine; "
    "load kvm_intel or kvm_amd",
    Trouble.NO_PERMISSION: "let this user open it (usually: the group kvm)",
}


@dataclass(frozen=True, kw_only=True)
class KvmFailure:
    """The reason why KVM cannot be used: its kind, and the system's or QEMU's own line."""

    trouble: Trouble
    detail: str = ""


class KvmError(EcError):
    """KVM is required and cannot be used."""

    def __init__(self, failure: KvmFailure) -> None:
        detail = f" ({failure.detail})" if failure.detail else ""
        hint = _HINTS.get(failure.trouble, "this machine's KVM does not carry the guest")
        super().__init__(
            f"KVM is required and cannot be used: {failure.trouble}{detail}",
            hint=f"{hint}; or set {GUEST_OPTIONS}.requireKvm to false",
        )


def probe_kvm(device: str = DEVICE) -> KvmFailure | None:
    """None where the device opens."""
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except (FileNotFoundError, NotADirectoryError):
        return KvmFailure(trouble=Trouble.MISSING)
    except PermissionError:
        return KvmFailure(trouble=Trouble.NO_PERMISSION)
    except OSError as error:
        # ENODEV, ENXIO: the node is there, its module is not.
        return KvmFailure(trouble=Trouble.MISSING, detail=error.strerror or str(error))
    return None


# "Could not access KVM kernel module: …", "failed to initialize kvm: …"; built without it: "invalid
# accelerator kvm".
_NOT_INITIALIZED = re.compile(r"KVM kernel module|failed to initialize kvm|invalid accelerator kvm", re.I)
# "kvm_init_vcpu: kvm_get_vcpu failed (0): Invalid argument", "error: kvm run failed".
_FAILED = re.compile(r"kvm_init|KVM_CREATE|KVM: entry failed|kvm run failed")
# "error: failed to set MSR 0x10a to 0x69", "kvm.c:3183: kvm_buf_set_msrs: Assertion …".
_ABORTED = re.compile(r"failed to set MSR|\bkvm|KVM")
_CRASHES = {-signal.SIGABRT, -signal.SIGSEGV, -signal.SIGBUS, -signal.SIGILL}


def classify_death(returncode: int, stderr: Sequence[str]) -> KvmFailure | None:
    """Whether a QEMU that ended under KVM before the guest's first progress died of KVM; None: it did not.

    ``returncode`` is as of subprocess, ``stderr`` its last lines.
    """
    if (line := _find(stderr, _NOT_INITIALIZED)) is not None:
        trouble = Trouble.NO_PERMISSION if "Permission denied" in line else Trouble.NOT_INITIALIZED
        return KvmFailure(trouble=trouble, detail=line)
    if returncode > 0 and (line := _find(stderr, _FAILED)) is not None:
        return KvmFailure(trouble=Trouble.ABORTED, detail=line)
    line = _find(stderr, _ABORTED)
    if returncode == -signal.SIGABRT or (returncode in _CRASHES and line is not None):
        return KvmFailure(trouble=Trouble.ABORTED, detail=line or "")
    return None


def _find(lines: Sequence[str], pattern: re.Pattern[str]) -> str | None:
    return next((line for line in lines if pattern.search(line)), None)


@dataclass(frozen=True, kw_only=True)
class FirstBoot:
    """What is known of the guest at one moment. ``resets`` are the RESET events' times, in seconds."""

    status: str
    resets: tuple[float, ...]
    progress: str | None


def diagnose_first_boot(boot: FirstBoot) -> KvmFailure | None:
    """Whether this is a guest that KVM does not carry."""
    if boot.status in {"internal-error", "paused"}:
        return KvmFailure(trouble=Trouble.STOPPED, detail=f"status {boot.status}")
    groups = 0
    previous = None
    for time in boot.resets:
        groups += previous is None or time - previous > _RESET_GROUP_SECONDS
        previous = time
    if groups > 1 or len(boot.resets) >= RESETS_IN_A_ROW:
        return KvmFailure(trouble=Trouble.RESETS, detail=f"{len(boot.resets)} resets")
    return None


async def watch_first_boot(
    look: Callable[[], Awaitable[FirstBoot]],
    *,
    changed: asyncio.Event,
    seconds: float,
    kvm_error: Callable[[], Awaitable[str]],
) -> KvmFailure | str:
    """Watch until the guest makes progress (what it was is returned) or KVM turns out not to carry it.

    ``changed`` is set when it is worth looking at once; ``seconds`` is the time for the first progress;
    ``kvm_error`` returns what QEMU reports where KVM stopped the guest; empty where it reports nothing.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        changed.clear()
        boot = await look()
        if boot.progress is not None:
            return boot.progress
        if (failure := diagnose_first_boot(boot)) is not None:
            error = await kvm_error() if failure.trouble is Trouble.STOPPED else ""
            return replace(failure, detail=f"{failure.detail}: {error}") if error else failure
        if loop.time() >= deadline:
            return KvmFailure(trouble=Trouble.NO_PROGRESS, detail=f"{seconds:g} s, status {boot.status}")
        try:
            async with asyncio.timeout(min(_POLL_SECONDS, deadline - loop.time())):
                await changed.wait()
        except TimeoutError:
            pass
