"""The one table of network boot: client architectures, the ports of its services, the boot binaries.

``protocols.json`` holds it, because the NixOS module makes the firewall of it as well. Architecture numbers
are DHCP option 93's (IANA, "Processor Architecture Types"); ports are DHCP's and TFTP's (RFC 2131, RFC 1350)
and the boot server's of the PXE specification 2.1, all three UDP.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ectools.netboot.kernel import IA32_UEFI, KERNELS_BY_BUILD, KernelArchitecture

PROBE_NAME = "ectools-probe"
"""What the probe calls itself, in DHCP, TFTP and HTTP: the boot server tells it from a machine by that."""

_FILE = Path(__file__).with_name("protocols.json")


class Binary(StrEnum):
    """A boot binary by what runs it."""

    BIOS = "bios"
    IA32 = "ia32"
    X86_64 = "x86_64"
    ARM64 = "arm64"


class StockBinary(StrEnum):
    """Which iPXE of a package: with drivers of its own, or with the firmware's alone (as iPXE calls them)."""

    IPXE = "ipxe"
    SNPONLY = "snponly"


class Transport(StrEnum):
    """How a firmware fetches its boot binary: PXE by TFTP, UEFI HTTP boot by HTTP."""

    TFTP = "tftp"
    HTTP = "http"


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A client architecture: ``number`` is its option 93."""

    number: int
    name: str
    binary: Binary
    transport: Transport


@dataclass(frozen=True, kw_only=True)
class BinaryKind:
    """``filename`` in the TFTP directory (x86-64's is an option); ``pe_machine`` of UEFI images, or None.

    ``build`` is the ``${buildarch}`` of an iPXE of that kind.
    """

    filename: str
    pe_machine: int | None
    build: str


@dataclass(frozen=True, kw_only=True)
class Ports:
    """UDP ports."""

    dhcp: int
    tftp: int
    pxe: int


@dataclass(frozen=True, kw_only=True)
class Protocols:
    """The table. ``stock``: what the one of the two for x86-64 is called that only some machines get."""

    ports: Ports
    binaries: dict[Binary, BinaryKind]
    stock: dict[StockBinary, str]
    architectures: tuple[Architecture, ...]

    def find_architecture(self, number: int) -> Architecture | None:
        """The architecture of option 93's ``number``, where it is served."""
        return next((each for each in self.architectures if each.number == number), None)


@functools.cache
def load_protocols() -> Protocols:
    """The table of this package."""
    raw = json.loads(_FILE.read_text(encoding="utf-8"))
    return Protocols(
        ports=Ports(**raw["ports"]),
        binaries={
            Binary(name): BinaryKind(
                filename=each["filename"], pe_machine=each["peMachine"], build=each["buildArch"]
            )
            for name, each in raw["binaries"].items()
        },
        stock={StockBinary(name): filename for name, filename in raw["stock"].items()},
        architectures=tuple(
            Architecture(
                number=each["number"],
                name=each["name"],
                binary=Binary(each["binary"]),
                transport=Transport(each["transport"]),
            )
            for each in raw["architectures"]
        ),
    )


def find_build(binary: Binary) -> str:
    """What KERNELS_BY_BUILD has for machines with this boot binary."""
    return IA32_UEFI if binary is Binary.IA32 else load_protocols().binaries[binary].build


def find_own_kernel(binary: Binary) -> KernelArchitecture:
    """The kernel that machines with this boot binary are given where there is a choice."""
    return KERNELS_BY_BUILD[find_build(binary)][0]
