"""The iPXE that firmware loads first: the system's own where it runs autoexec.ipxe, or a newer package's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.demo.debian_suite import find_ipxe_tree
from ectools.demo.payload import PayloadError
from ectools.errors import EcError
from ectools.netboot.boot_files.choose import BinaryError, find_stock

if TYPE_CHECKING:
    from pathlib import Path

_SUITE = "trixie"
"""The first Debian release whose iPXE looks for autoexec.ipxe."""

_FILE = "usr/lib/ipxe/ipxe-amd64.efi"


def find_first_stage() -> Path | None:
    """A file that ``ipxe.localFile`` may name; None where the system's own iPXE is good as it is.

    Raises PayloadError where there is none, and Debian's package cannot be had either.
    """
    try:
        find_stock(None)
    except BinaryError as here:
        try:
            return find_ipxe_tree(_SUITE) / _FILE
        except EcError as error:
            raise PayloadError(
                f"{here.message}; and Debian's package of {_SUITE} cannot be had: {error.message}",
                hint="bring an iPXE for x86-64 UEFI of 2024 or later: --ipxe FILE",
            ) from error
    return None
