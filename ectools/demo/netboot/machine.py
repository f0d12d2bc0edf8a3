"""A machine of UEFI firmware (OVMF) with one card and no disk: it can boot from the network alone."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ectools.vm.argv import QEMU

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ectools.demo.netboot.lab import Plug

MACHINE_MAC = "52:54:00:ec:b0:07"

_PLACES = (
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),  # Debian, Ubuntu
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),  # Fedora
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),  # Arch
)


@dataclass(frozen=True, kw_only=True)
class Ovmf:
    """The firmware's code, and its variables as they are at first; a machine writes to a copy of them."""

    code: Path
    variables: Path


def find_ovmf(places: Sequence[tuple[str, str]] | None = None) -> Ovmf | None:
    """OVMF for x86-64 where a distribution puts it (or in ``places``); None where it is not installed."""
    for code, variables in _PLACES if places is None else places:
        if Path(code).exists() and Path(variables).exists():
            return Ovmf(code=Path(code), variables=Path(variables))
    return None


def build_machine_argv(
    plug: Plug, ovmf: Ovmf, directory: Path, *, mac: str = MACHINE_MAC, boots_again: bool = False
) -> list[str]:
    """The command of a machine on ``plug``. ``directory`` gets its ``console`` and the firmware's variables.

    IPv6 is switched off in the firmware, which would try it first for half a minute. ``boots_again``: a
    reboot is one; else it is the machine's end.
    """
    variables = directory / "ovmf-variables.fd"
    shutil.copyfile(ovmf.variables, variables)
    return [
        *(*plug.wrapper, QEMU),
        *("-nodefaults", "-display", "none", *([] if boots_again else ["-no-reboot"])),
        *("-machine", "q35,accel=tcg,graphics=off", "-cpu", "max", "-m", "256"),
        *("-serial", f"file:{directory / 'console'}", "-device", "virtio-rng-pci"),
        *("-netdev", f"{plug.netdev},id=net"),
        # Without a ROM of its own: else QEMU's iPXE boots in the firmware's place.
        *("-device", f"virtio-net-pci,netdev=net,mac={mac},bootindex=1,romfile="),
        *("-drive", f"if=pflash,format=raw,readonly=on,file={ovmf.code}"),
        *("-drive", f"if=pflash,format=raw,file={variables}"),
        *("-fw_cfg", "name=opt/org.tianocore/IPv6Support,string=n"),
    ]
