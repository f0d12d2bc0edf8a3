"""The processor that a boot image is for, by its first bytes; and what a name says of it.

Linux for x86 has a setup header (https://docs.kernel.org/arch/x86/boot.html), for ARM64 and RISC-V an image
header (https://docs.kernel.org/arch/arm64/booting.html); what UEFI starts has PE's (Microsoft's "PE Format"),
a compressed EFI kernel (CONFIG_EFI_ZBOOT) alone.
"""

from __future__ import annotations

import re
import struct
from enum import StrEnum

HEAD_BYTES = 64 << 10
"""So much of a kernel's beginning is more than its headers take."""

_UEFI_APPLICATION = 10
_XLF_KERNEL_64 = 1
# The first version of x86's boot protocol that says whether the kernel is a 64-bit one.
_XLOADFLAGS_SINCE = 0x020C


class KernelArchitecture(StrEnum):
    """What a kernel runs on, as Nix names it."""

    I686 = "i686"
    X86_64 = "x86_64"
    ARMV7L = "armv7l"
    AARCH64 = "aarch64"
    RISCV64 = "riscv64"
    LOONGARCH64 = "loongarch64"


IA32_UEFI = "i386-efi"
"""iPXE's name of its own for 32-bit UEFI, whose ``${buildarch}`` is i386 as BIOS's is."""

KERNELS_BY_BUILD: dict[str, tuple[KernelArchitecture, ...]] = {
    "i386": (KernelArchitecture.X86_64, KernelArchitecture.I686),
    IA32_UEFI: (KernelArchitecture.I686,),
    "x86_64": (KernelArchitecture.X86_64,),
    "arm32": (KernelArchitecture.ARMV7L,),
    "arm64": (KernelArchitecture.AARCH64,),
    "riscv64": (KernelArchitecture.RISCV64,),
    "loong64": (KernelArchitecture.LOONGARCH64,),
}
"""iPXE's ``${buildarch}``, or IA32_UEFI → the kernels that it is given, the one to be preferred first.

An iPXE for BIOS is an i386 one on every processor, and starts 64-bit kernels. 32-bit UEFI starts no program
of another machine: a 64-bit kernel's entry for it (CONFIG_EFI_MIXED) takes a loader that knows of it, which
iPXE is not.
"""

_MACHINES = {
    0x014C: KernelArchitecture.I686,
    0x8664: KernelArchitecture.X86_64,
    0x01C0: KernelArchitecture.ARMV7L,
    0x01C2: KernelArchitecture.ARMV7L,
    0x01C4: KernelArchitecture.ARMV7L,
    0xAA64: KernelArchitecture.AARCH64,
    0x5064: KernelArchitecture.RISCV64,
    0x6264: KernelArchitecture.LOONGARCH64,
}
# What stands for an architecture in a name, between other characters than letters and digits.
_WORDS = {
    "i386": KernelArchitecture.I686,
    "i686": KernelArchitecture.I686,
    "x86_64": KernelArchitecture.X86_64,
    "x86-64": KernelArchitecture.X86_64,
    "amd64": KernelArchitecture.X86_64,
    "armv7l": KernelArchitecture.ARMV7L,
    "aarch64": KernelArchitecture.AARCH64,
    "arm64": KernelArchitecture.AARCH64,
    "riscv64": KernelArchitecture.RISCV64,
    "loongarch64": KernelArchitecture.LOONGARCH64,
}
_WORD = re.compile(rf"(?<![A-Za-z0-9])({'|'.join(map(re.escape, _WORDS))})(?![A-Za-z0-9])", re.IGNORECASE)


def find_kernel_architecture(head: bytes) -> KernelArchitecture | None:
    """What the kernel that begins with ``head`` (up to HEAD_BYTES) runs on; None where that cannot be told.

    Before version 2.12 of its boot protocol, a kernel for x86 does not say whether it is a 64-bit one.
    """
    if head[0x202:0x206] == b"HdrS" and len(head) >= 0x238:
        version, flags = struct.unpack_from("<H", head, 0x206)[0], struct.unpack_from("<H", head, 0x236)[0]
        if version >= _XLOADFLAGS_SINCE:
            return KernelArchitecture.X86_64 if flags & _XLF_KERNEL_64 else KernelArchitecture.I686
    if head[0x38:0x3C] == b"ARM\x64":
        return KernelArchitecture.AARCH64
    if head[0x38:0x3C] == b"RSC\x05":
        return KernelArchitecture.RISCV64
    machine = find_machine(head)
    return None if machine is None else _MACHINES.get(machine)


def find_machine(data: bytes) -> int | None:
    """The machine of a UEFI application, as PE numbers it; None for all else.

    ``data`` is the file, or as much of its beginning as the headers take.
    """
    if not data.startswith(b"MZ") or len(data) < 0x40:
        return None
    (offset,) = struct.unpack_from("<I", data, 0x3C)
    # The signature, the COFF header (20 bytes), the optional header up to its field Subsystem.
    if data[offset : offset + 4] != b"PE\0\0" or len(data) < offset + 24 + 70:
        return None
    (machine,) = struct.unpack_from("<H", data, offset + 4)
    (subsystem,) = struct.unpack_from("<H", data, offset + 24 + 68)
    return int(machine) if subsystem == _UEFI_APPLICATION else None


def find_named_architecture(name: str) -> KernelArchitecture | None:
    """The architecture that a system's name says; None where it says none, or several."""
    found = {_WORDS[word.lower()] for word in _WORD.findall(name)}
    return found.pop() if len(found) == 1 else None


def replace_architecture(name: str, architecture: KernelArchitecture) -> str | None:
    """The name, or pattern of names, of the same for another architecture; None where it says none.

    So it is where it says that one already.
    """
    if find_named_architecture(name) in (None, architecture):
        return None
    return _WORD.sub(architecture.value, name)
