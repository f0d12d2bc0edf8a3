"""QEMU's refusal of an argument → the option that the argument came from.

The settings' own checks know the form of a machine type, a CPU or a device model, not which ones a QEMU has.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ectools.errors import Problem, ProblemsError
from ectools.vm.settings import GUEST_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ectools.vm.settings import GuestSettings

# Messages that do not name the argument they are about, as QEMU 7 to 10 say them.
_MESSAGES = [
    (re.compile(r"unsupported machine type|Property '[\w.-]+-machine\."), "machine"),
    (re.compile(r"unable to find CPU model|can't apply global [\w.-]+-cpu\."), "cpu"),
    (re.compile(r"Invalid SMP CPUs|Invalid CPU topology"), "vcpus"),
    (re.compile(r"cannot set up guest memory|ram size too large|[Mm]emory size"), "memoryMiB"),
    (re.compile(r"Parameter 'boot\.|boot device"), "boot.order"),
]
_EXPECTED = {
    "machine": "a machine type of this QEMU and its properties (qemu-system-x86_64 -machine help)",
    "cpu": "a CPU model of this QEMU and its features (qemu-system-x86_64 -cpu help)",
    "vcpus": "a number of CPUs that the machine type allows",
    "memoryMiB": "an amount of memory that this host can give",
    "serial": "a character device that this QEMU can open",
    "boot.order": "what this QEMU's -boot takes: order=n",
    "boot.userNet.model": "a network device of this QEMU (qemu-system-x86_64 -device help)",
    "lan.model": "a network device of this QEMU (qemu-system-x86_64 -device help)",
    "disk.path": "a qcow2 image that no other process uses",
    "extraArgs": "arguments of this QEMU",
}


def raise_for_settings(settings: GuestSettings, stderr: Sequence[str]) -> None:
    """Raise ProblemsError where QEMU's last lines blame an option; return where they do not."""
    for line in stderr:
        message = line.partition(": ")[2] if line.startswith("qemu-system") else line
        option = _find_option(settings, message)
        if option is not None:
            problem = Problem(
                option=f"{GUEST_OPTIONS}.{option}",
                message=f"QEMU says: {message}",
                expected=_EXPECTED[option],
            )
            raise ProblemsError("QEMU refuses the settings", [problem])


def _find_option(settings: GuestSettings, message: str) -> str | None:
    blamed = [
        (f"-serial {settings.serial}:", "serial"),
        (f"-device {settings.boot.user_net.model},netdev=boot0", "boot.userNet.model"),
        *([] if settings.lan is None else [(f"-device {settings.lan.model},netdev=lan0", "lan.model")]),
        ("-blockdev ", "disk.path"),
        *((f"{argument}", "extraArgs") for argument in settings.extra_args if argument.startswith("-")),
    ]
    for start, option in blamed:
        if message.startswith(start):
            return option
    return next((option for pattern, option in _MESSAGES if pattern.search(message)), None)
