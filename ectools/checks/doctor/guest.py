"""What a guest needs of this host: KVM, memory, macvtap."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ectools.capabilities import Capability, has_capability
from ectools.checks.doctor.findings import Finding, FindingState
from ectools.checks.doctor.kernel import read_kernel_file

_GUEST_MIB = 4096  # memoryMiB's default


def check_kvm(trouble: str | None) -> Finding:
    commands = ("demo", "vm")
    if trouble is None:
        detail = "it opens; whether it carries a guest is seen when one starts"
        return Finding(name="KVM", commands=commands, state=FindingState.OK, detail=detail)
    return Finding(
        name="KVM",
        commands=commands,
        state=FindingState.LIMITED,
        detail=f"{trouble}; guests run under TCG, many times slower",
        remedy="turn on virtualization, load kvm_intel or kvm_amd, and put the user into the group kvm",
    )


def check_free_memory() -> Finding:
    commands = ("demo", "vm")
    text = read_kernel_file("/proc/meminfo")
    found = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    available = int(found[1]) // 1024 if found else 0
    if available >= _GUEST_MIB:
        return Finding(
            name="memory", commands=commands, state=FindingState.OK, detail=f"{available} MiB are available"
        )
    return Finding(
        name="memory",
        commands=commands,
        state=FindingState.LIMITED,
        detail=f"{available} MiB are available, and a guest has {_GUEST_MIB} MiB unless it is told otherwise",
        remedy="set memoryMiB lower",
    )


def check_macvtap() -> Finding:
    """The driver by its device number, or as a module of this kernel; and the right to make a link."""
    loaded = re.search(r"^\s*\d+ macvtap$", read_kernel_file("/proc/devices"), re.MULTILINE) is not None
    modules = Path("/lib/modules") / os.uname().release
    names = "".join(read_kernel_file(str(modules / name)) for name in ("modules.dep", "modules.builtin"))
    if not loaded and "/macvtap.ko" not in names:
        return Finding(
            name="macvtap",
            commands=("vm",),
            state=FindingState.LIMITED,
            detail="this kernel has no driver for it; lan.enable cannot work",
            remedy="a kernel with CONFIG_MACVTAP, and modprobe macvtap",
        )
    if not has_capability(Capability.NET_ADMIN):
        return Finding(
            name="macvtap",
            commands=("vm",),
            state=FindingState.LIMITED,
            detail="this user may not make links (CAP_NET_ADMIN); lan.enable cannot work when started by it",
            remedy="start the runner as a service, or as root",
        )
    detail = "the driver is loaded" if loaded else "the driver is a module that is loaded when needed"
    return Finding(name="macvtap", commands=("vm",), state=FindingState.OK, detail=detail)
