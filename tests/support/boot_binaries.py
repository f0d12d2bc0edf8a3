"""Boot binaries: small ones made up for the tests, and the real ones of Debian's releases."""

from __future__ import annotations

import shutil
import struct
from typing import TYPE_CHECKING

from support.needs import give_up, require_tool

from ectools.demo.debian_suite import find_suite_tree
from ectools.demo.netboot.machine import Ovmf, find_ovmf
from ectools.errors import EcError

if TYPE_CHECKING:
    from pathlib import Path

X86_64, IA32, ARM64 = 0x8664, 0x014C, 0xAA64

UNDIONLY = b"\xea\x05\0\xc0\x07" + bytes(1000)
"""What passes for a PXE program."""


def build_uefi_application(machine: int = X86_64, *, body: bytes = b"", subsystem: int = 10) -> bytes:
    """The headers of a UEFI application that nothing can run, then ``body``."""
    stub = b"MZ" + bytes(0x3A) + struct.pack("<I", 0x40)
    coff = struct.pack("<HHIIIHH", machine, 0, 0, 0, 0, 240, 0x0206)
    optional = struct.pack("<H", 0x020B) + bytes(66) + struct.pack("<H", subsystem) + bytes(170)
    return stub + b"PE\0\0" + coff + optional + body


def build_ipxe(version: str = "2.0.0", *, machine: int = X86_64, autoexec: str = "ascii") -> bytes:
    """What passes for an iPXE. ``autoexec``: how it holds that name (``none``, ``both``, ``ascii``)."""
    names = {"none": b"", "ascii": b"autoexec.ipxe\0"}
    names["both"] = names["ascii"] + "autoexec.ipxe".encode("utf-16-le")
    body = b"#!ipxe \0iPXE\0" + version.encode() + b"\0" + names[autoexec]
    return build_uefi_application(machine, body=body)


def build_shim(
    second_stage: str = "\\\\grubx64.efi", *, machine: int = X86_64, by_own_name: bool = False
) -> bytes:
    """What passes for a shim: its mark, and the names that it can load as it holds them."""
    texts = ["\\fbx64.efi", "\\mmx64.efi", "not bootx64.efi", second_stage, "revocations_sbat.efi"]
    body = b"UEFI SHIM\n$Version: 16.1 $\n\0\0" + b"".join(f"{text}\0".encode("utf-16-le") for text in texts)
    return build_uefi_application(machine, body=body + (b"iPXE\0-shim\0" if by_own_name else b""))


def find_ipxe(suite: str) -> Path:
    """A tree of a Debian suite's packages ``ipxe`` and ``ipxe-qemu`` (``trixie``), from the cache or made.

    The binaries stand in ``usr/lib/ipxe``. Nothing is installed, and the system's apt does not learn of it.
    Ends the test where they cannot be had.
    """
    return _find_tree(suite, "ipxe", ("ipxe", "ipxe-qemu"))


def find_signed_loaders() -> tuple[Path, Path]:
    """Debian's shim, signed by Microsoft, and the GRUB for networks that it starts; as ``find_ipxe``."""
    tree = _find_tree("bookworm", "signed-loaders", ("shim-signed", "grub-efi-amd64-signed")) / "usr/lib"
    return tree / "shim/shimx64.efi.signed", tree / "grub/x86_64-efi-signed/grubnetx64.efi.signed"


def find_arm64_kernel() -> Path:
    """Debian's kernel for ARM64 machines in a cloud; as ``find_ipxe``."""
    tree = _find_tree("bookworm", "arm64-kernel", ("linux-image-cloud-arm64",), architecture="arm64")
    (kernel,) = tree.glob("boot/vmlinuz-*")
    return kernel


def _find_tree(suite: str, name: str, packages: tuple[str, ...], *, architecture: str | None = None) -> Path:
    """``architecture``: Debian's name of another one than this machine's."""
    require_tool("apt-get", "this test takes its boot binaries from Debian's packages")
    try:
        return find_suite_tree(suite, name, packages, architecture=architecture)
    except EcError as error:
        give_up(f"Debian's packages of {suite} cannot be had: {error.message}")


# With Microsoft's keys in its variables, so that Secure Boot is on.
_SECURE_OVMF = (
    ("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd", "/usr/share/edk2/ovmf/OVMF_VARS.secboot.fd"),
)
_AAVMF = (
    ("/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"),
    ("/usr/share/edk2/aarch64/QEMU_EFI-pflash.raw", "/usr/share/edk2/aarch64/vars-template-pflash.raw"),
)


def copy_ovmf(directory: Path, *, secure: bool = False) -> tuple[Path, Path]:
    """OVMF's code, and a copy of its variables that a guest may write to. ``secure``: with Secure Boot."""
    return _copy_firmware(find_ovmf(_SECURE_OVMF if secure else None), directory, "OVMF", package="ovmf")


def copy_aavmf(directory: Path) -> tuple[Path, Path]:
    """The same for ARM64 machines."""
    return _copy_firmware(find_ovmf(_AAVMF), directory, "AAVMF", package="qemu-efi-aarch64")


def _copy_firmware(found: Ovmf | None, directory: Path, name: str, *, package: str) -> tuple[Path, Path]:
    if found is None:
        give_up(f"{name} is not installed (Debian: {package})")
    copy = directory / "firmware-variables.fd"
    shutil.copyfile(found.variables, copy)
    return found.code, copy
