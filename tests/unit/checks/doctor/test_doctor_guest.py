"""What a guest needs of a host, on kernels that have it, and on kernels that do not."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from ectools.capabilities import Capability
from ectools.checks.doctor import guest
from ectools.checks.doctor.findings import Finding, FindingState

if TYPE_CHECKING:
    from collections.abc import Callable

MEMORY = "MemTotal:       16000000 kB\nMemFree:          100000 kB\nMemAvailable:   {} kB\n"
DEVICES = "Character devices:\n  1 mem\n{}\nBlock devices:\n259 blkext\n"
MODULES = f"/lib/modules/{os.uname().release}"

Kernel = dict[str, str]


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """The kernel's files by path; what is not in it cannot be read."""
    files: Kernel = {}
    monkeypatch.setattr(guest, "read_kernel_file", lambda path: files.get(path, ""))
    return files


@pytest.fixture
def grant(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``grant(*capabilities)``: the ones that the user has."""

    def run(*capabilities: Capability) -> None:
        monkeypatch.setattr(guest, "has_capability", lambda asked: asked in capabilities)

    return run


def test_a_kvm_that_opens_promises_no_more() -> None:
    assert guest.check_kvm(None) == Finding(
        name="KVM",
        commands=("demo", "vm"),
        state=FindingState.OK,
        detail="it opens; whether it carries a guest is seen when one starts",
    )


def test_without_kvm_guests_are_slow() -> None:
    found = guest.check_kvm("/dev/kvm: Permission denied")
    assert found.state is FindingState.LIMITED
    assert found.detail == "/dev/kvm: Permission denied; guests run under TCG, many times slower"
    assert "put the user into the group kvm" in (found.remedy or "")


@pytest.mark.parametrize(
    ("kib", "state", "mib"),
    [
        (4096 * 1024, FindingState.OK, 4096),
        (4096 * 1024 - 1, FindingState.LIMITED, 4095),
        (100, FindingState.LIMITED, 0),
    ],
)
def test_memory_for_a_guest_of_the_default_size(
    kernel: Kernel, kib: int, state: FindingState, mib: int
) -> None:
    kernel["/proc/meminfo"] = MEMORY.format(kib)
    found = guest.check_free_memory()
    assert (found.commands, found.state) == (("demo", "vm"), state)
    assert found.detail.startswith(f"{mib} MiB are available")
    assert found.remedy == (None if state is FindingState.OK else "set memoryMiB lower")


def test_a_kernel_that_does_not_tell_its_memory(kernel: Kernel) -> None:
    kernel["/proc/meminfo"] = "MemFree: 9999999999 kB\nXMemAvailable: 9999999999 kB\n"
    found = guest.check_free_memory()
    assert found.state is FindingState.LIMITED
    assert found.detail == ("0 MiB are available, and a guest has 4096 MiB unless it is told otherwise")


@pytest.mark.parametrize(
    ("file", "text", "detail"),
    [
        ("/proc/devices", DEVICES.format("241 macvtap"), "the driver is loaded"),
        (
            f"{MODULES}/modules.dep",
            "kernel/drivers/net/macvtap.ko.xz: kernel/drivers/net/tap.ko.xz\n",
            "the driver is a module that is loaded when needed",
        ),
        (
            f"{MODULES}/modules.builtin",
            "kernel/drivers/net/macvtap.ko\n",
            "the driver is a module that is loaded when needed",
        ),
    ],
)
def test_macvtap_where_the_kernel_has_it(
    kernel: Kernel, grant: Callable[..., None], file: str, text: str, detail: str
) -> None:
    kernel[file] = text
    grant(Capability.NET_ADMIN)
    assert guest.check_macvtap() == Finding(
        name="macvtap", commands=("vm",), state=FindingState.OK, detail=detail
    )
    grant(*(each for each in Capability if each is not Capability.NET_ADMIN))
    found = guest.check_macvtap()
    assert found.state is FindingState.LIMITED
    assert found.detail == (
        "this user may not make links (CAP_NET_ADMIN); lan.enable cannot work when started by it"
    )
    assert found.remedy == "start the runner as a service, or as root"


@pytest.mark.parametrize("line", ["241 macvtap-other", "macvtap", "241 tap"])
def test_macvtap_where_the_kernel_has_it_not(kernel: Kernel, grant: Callable[..., None], line: str) -> None:
    kernel["/proc/devices"] = DEVICES.format(line)
    kernel[f"{MODULES}/modules.dep"] = "kernel/drivers/net/macvlan.ko:\nkernel/x/not-macvtap.ko:\n"
    grant(Capability.NET_ADMIN)
    found = guest.check_macvtap()
    assert found.state is FindingState.LIMITED
    assert found.detail == "this kernel has no driver for it; lan.enable cannot work"
    assert found.remedy == "a kernel with CONFIG_MACVTAP, and modprobe macvtap"
