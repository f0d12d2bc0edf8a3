"""The beginnings of kernels, as their headers say what they run on; nothing runs them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from support.boot_binaries import ARM64, X86_64, build_uefi_application
from support.releases import release_files

from ectools.netboot.kernel import KernelArchitecture

if TYPE_CHECKING:
    from collections.abc import Callable


def build_bzimage(*, is_64_bit: bool = True, version: int = 0x020F, uefi: int | None = None) -> bytes:
    """Linux for x86. ``uefi``: it is a UEFI application for this machine too."""
    head = bytearray(0x1000) if uefi is None else bytearray(build_uefi_application(uefi).ljust(0x1000, b"\0"))
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", head, 0x206, version)
    struct.pack_into("<H", head, 0x236, 0x3F if is_64_bit else 0x3E)
    return bytes(head)


def build_image(magic: bytes = b"ARM\x64") -> bytes:
    """Linux for ARM64, or by its magic for RISC-V, without a UEFI stub."""
    return bytes(0x38) + magic + bytes(0x1000)


def build_zboot(machine: int = ARM64) -> bytes:
    """A compressed EFI kernel: "zimg" stands where a DOS program's header goes on."""
    data = bytearray(build_uefi_application(machine, body=bytes(0x1000)))
    data[4:8] = b"zimg"
    return bytes(data)


KERNELS: dict[KernelArchitecture, Callable[[], bytes]] = {
    KernelArchitecture.I686: lambda: build_bzimage(is_64_bit=False),
    KernelArchitecture.X86_64: lambda: build_bzimage(uefi=X86_64),
    KernelArchitecture.AARCH64: build_image,
    KernelArchitecture.RISCV64: lambda: build_image(b"RSC\x05"),
}


def system_files(architecture: KernelArchitecture, text: str = "one") -> dict[str, bytes]:
    """The three files of an archive; another ``text`` is other content."""
    return {**release_files(text), "kernel": KERNELS[architecture]() + text.encode()}
