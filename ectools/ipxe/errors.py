"""Kinds of iPXE's error numbers, in words: why something was not loaded.

The low byte of an error number is the platform's code of its kind, as iPXE's ``include/ipxe/errno/efi.h`` and
``arch/x86/include/ipxe/errno/pcbios.h`` map it. UEFI's have the high bit, so the two do not meet.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Reason:
    codes: tuple[int, ...]
    text: str


_ACCESS_DENIED, _NOT_FOUND, _TIMEOUT, _NO_RESPONSE = 0x8F, 0x8E, 0x92, 0x90
_ABORTED, _PROTOCOL_ERROR, _UNSUPPORTED, _OUT_OF_RESOURCES = 0x95, 0x98, 0x83, 0x89
_PXE_ACCESS_VIOLATION, _PXE_FILE_NOT_FOUND, _PXE_READ_TIMEOUT, _PXE_ARP_TIMEOUT = 0x3C, 0x3B, 0x35, 0x11
_PXE_CANNOT_READ, _PXE_UNSUPPORTED, _PXE_OUT_OF_RESOURCES = 0x39, 0x03, 0x06

NOBODY_ANSWERS = (_TIMEOUT, _PXE_READ_TIMEOUT, _NO_RESPONSE, _PXE_ARP_TIMEOUT)
"""Of an address that may be on another network: nobody answers."""

REASONS = (
    Reason(
        codes=(_ACCESS_DENIED, _PXE_ACCESS_VIOLATION),
        text="refused: not allowed from here, or another token is needed",
    ),
    Reason(codes=(_NOT_FOUND, _PXE_FILE_NOT_FOUND), text="not found, or its host is not known to DNS"),
    Reason(codes=(_TIMEOUT, _PXE_READ_TIMEOUT), text="unreachable: no answer in time"),
    Reason(codes=(_NO_RESPONSE, _PXE_ARP_TIMEOUT), text="unreachable: no way to its host"),
    Reason(codes=(_ABORTED,), text="unreachable: the connection was refused, or broke"),
    Reason(codes=(_PROTOCOL_ERROR,), text="the server answered with an error, or with less than it promised"),
    # BIOS builds have one code for the last two.
    Reason(codes=(_PXE_CANNOT_READ,), text="unreachable, or the server answered with an error"),
    Reason(codes=(_UNSUPPORTED, _PXE_UNSUPPORTED), text="this iPXE does not speak its protocol"),
    Reason(codes=(_OUT_OF_RESOURCES, _PXE_OUT_OF_RESOURCES), text="not enough memory for it"),
)
