"""The check of the boot HTTP server's directory, before anything starts.

A guest that gets a kernel which was cut off shows nothing: iPXE jumps into what there is of it.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from ectools.errors import InputError
from ectools.files import FileError, open_regular
from ectools.ipxe.language import NETBOOT_NAME
from ectools.vm.settings import GUEST_OPTIONS

if TYPE_CHECKING:
    from pathlib import Path

    from ectools.vm.settings import Boot

_OPTION = f"{GUEST_OPTIONS}.boot.http.root"
# Documentation/arch/x86/boot.rst of Linux: setup_sects, syssize (in 16 bytes), and the magic of the header.
_SETUP_SECTS, _SYSSIZE, _MAGIC_AT, _MAGIC = 0x1F1, 0x1F4, 0x202, b"HdrS"


def check_boot_root(boot: Boot) -> None:
    """Raises InputError, with the path and what is wrong with it. Nothing to check where no server is run."""
    root = boot.http.root
    if root is None:
        return
    what = _find_kind(root, hint=f"{_OPTION}: let uid {os.geteuid()} read it")
    if what is None or not stat.S_ISDIR(what):
        raise InputError(
            f"{root}: {'is not a directory' if os.path.lexists(root) else 'does not exist'}",
            hint=f"{_OPTION} is the directory with kernel, initrd and {NETBOOT_NAME}",
        )
    if not os.access(root, os.R_OK | os.X_OK):
        raise InputError(
            f"{root}: cannot be read by this user", hint=f"{_OPTION}: let uid {os.geteuid()} read it"
        )
    script = root / NETBOOT_NAME
    if boot.chain is None:
        hint = f"{_OPTION} needs it: the guest goes on to it"
        what = _find_kind(script, hint=hint)
        if what is None or not stat.S_ISREG(what):
            raise InputError(f"{script}: there is no such file", hint=hint)
    _check_kernel(root / "kernel")


def _find_kind(path: Path, *, hint: str) -> int | None:
    """The mode of what is there; None for nothing, as for a link to nothing. Raises InputError."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(f"{path}: cannot be looked at: {error.strerror}", hint=hint) from error


def _check_kernel(path: Path) -> None:
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            head = file.read(_MAGIC_AT + len(_MAGIC))
            there = os.fstat(file.fileno()).st_size
    except (FileError, OSError):
        return  # the script need not name it; a request for it is answered by the server
    if head[_MAGIC_AT:] != _MAGIC:
        return  # another kind of kernel
    sectors = head[_SETUP_SECTS] or 4
    whole = (sectors + 1) * 512 + 16 * int.from_bytes(head[_SYSSIZE : _SYSSIZE + 4], "little")
    if there <= whole - 16:
        raise InputError(
            f"{path}: cut off: it has {there} bytes, and its header says {whole}",
            hint="copy it again; a guest would hang in it without a word",
        )
