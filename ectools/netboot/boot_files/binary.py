"""Facts of a boot binary, by its bytes: its machine, its version, and what it loads next.

UEFI builds are not compressed, so their strings can be read; BIOS builds are, and have no ``autoexec.ipxe``.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from ectools.netboot.boot_files.shim import find_shim

if TYPE_CHECKING:
    from ectools.netboot.boot_files.shim import ShimFacts

from ectools.netboot.kernel import find_machine

_NAME = "autoexec.ipxe"
# iPXE since 2024 says who it is to Secure Boot (SBAT): component, generation, vendor, file, version, URL.
_SBAT = re.compile(rb"ipxe,\d+,iPXE,[^,\n]+,([^,\n]+),")
_VERSION = re.compile(rb"\0(\d+\.\d+\.\d+[!-~ ]{0,60})\0")
# Every iPXE holds this as a script's magic, with a NUL behind it; a script that was built in goes on.
_EMBEDDED = re.compile(rb"#!ipxe\s[^\0]+")


class Autoexec(StrEnum):
    """Where an iPXE fetches ``autoexec.ipxe`` from."""

    NOWHERE = "nowhere"
    TFTP = "TFTP"
    TFTP_AND_HTTP = "TFTP and HTTP"


@dataclass(frozen=True, kw_only=True)
class BinaryFacts:
    """``machine``: PE's number, None where it is no UEFI application. ``version``: None where it has none.

    ``embedded`` is the script that was built in, None where there is none. ``autoexec`` and ``embedded`` say
    nothing of a BIOS build. ``shim``: its facts where it is one.
    """

    machine: int | None
    is_ipxe: bool
    version: str | None
    autoexec: Autoexec
    embedded: bytes | None
    shim: ShimFacts | None = None

    @property
    def title(self) -> str:
        """``iPXE 2.0.0``, ``shim 16.1``."""
        if self.shim is not None:
            return "shim" if self.shim.version is None else f"shim {self.shim.version}"
        if not self.is_ipxe:
            return "no iPXE"
        return "iPXE of an unknown version" if self.version is None else f"iPXE {self.version}"


@dataclass(frozen=True, kw_only=True)
class BootBinary:
    """A whole boot binary. ``where`` it is from: a path, or a URL."""

    where: str
    data: bytes

    @functools.cached_property
    def facts(self) -> BinaryFacts:
        """What it is: the search goes through all of it, so once."""
        return inspect_binary(self.data)


def inspect_binary(data: bytes) -> BinaryFacts:
    """The facts of a whole file."""
    found = _SBAT.search(data) or _VERSION.search(data)
    embedded = _EMBEDDED.search(data)
    shim = find_shim(data)
    # The iPXE project's shim names its maker.
    is_ipxe = shim is None and b"iPXE" in data
    return BinaryFacts(
        machine=find_machine(data),
        is_ipxe=is_ipxe,
        version=found[1].decode("ascii", "replace") if found and is_ipxe else None,
        autoexec=_find_autoexec(data),
        embedded=None if embedded is None else embedded[0],
        shim=shim,
    )


def _find_autoexec(data: bytes) -> Autoexec:
    """By the name's encodings: none before 2021, both until March 2024, then ASCII alone."""
    if _NAME.encode("ascii") not in data:
        return Autoexec.NOWHERE
    return Autoexec.TFTP if _NAME.encode("utf-16-le") in data else Autoexec.TFTP_AND_HTTP
