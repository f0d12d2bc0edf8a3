"""What a machine must have for the demo of a network, all of it looked at before anything is set up."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ectools.demo.netboot.machine import Ovmf, find_ovmf
from ectools.errors import EcError
from ectools.vm.argv import QEMU

if TYPE_CHECKING:
    from pathlib import Path

_TUN = "/dev/net/tun"
_SYSTEM_DIRECTORIES = ("/usr/sbin", "/sbin")
# Program → Debian's package.
_PROGRAMS = {
    QEMU: "qemu-system-x86",
    "dnsmasq": "dnsmasq-base",
    "ip": "iproute2",
    "nsenter": "util-linux",
}


class MissingNeedsError(EcError):
    """Something is not installed, or not allowed; the message names all of it."""


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What was found. The programs are on PATH."""

    dnsmasq: str
    ovmf: Ovmf


def find_needs(ovmf_directory: Path | None = None) -> Needs:
    """What the demo uses, with PATH made longer by the directories that an ordinary user's lacks.

    ``ovmf_directory``: with ``OVMF_CODE.fd`` and ``OVMF_VARS.fd``, in place of the distributions' places.
    Raises MissingNeedsError.
    """
    os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), *_SYSTEM_DIRECTORIES])
    missing = [(name, package) for name, package in _PROGRAMS.items() if shutil.which(name) is None]
    given = None
    if ovmf_directory is not None:
        given = [(str(ovmf_directory / "OVMF_CODE.fd"), str(ovmf_directory / "OVMF_VARS.fd"))]
    ovmf, dnsmasq = find_ovmf(given), shutil.which("dnsmasq")
    lines = [f"{name}: not installed (Debian: {package})" for name, package in missing]
    packages = [package for _, package in missing]
    if ovmf is None:
        lines.append("OVMF, UEFI firmware for QEMU: not installed (Debian: ovmf)")
        packages.append("ovmf")
    try:
        os.close(os.open(_TUN, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        lines.append(f"{_TUN}: cannot be opened: {error.strerror}; as root: modprobe tun, chmod 666 {_TUN}")
    if ovmf is None or dnsmasq is None or lines:
        hint = f"sudo apt-get install --no-install-recommends {' '.join(packages)}" if packages else None
        raise MissingNeedsError("the demo cannot run here:\n  " + "\n  ".join(lines), hint=hint)
    return Needs(dnsmasq=dnsmasq, ovmf=ovmf)
