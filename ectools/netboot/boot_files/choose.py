"""The choice of boot binaries: found, read and checked, before anything is written."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, assert_never
from urllib.parse import urlsplit

from ectools import log
from ectools.errors import EcError, InputError
from ectools.files import read_regular
from ectools.netboot.boot_files.binary import Autoexec, BootBinary
from ectools.netboot.boot_files.layout import build_filenames
from ectools.netboot.protocols import Binary, StockBinary, load_protocols
from ectools.netboot.settings.model import (
    NETBOOT_OPTIONS,
    IpxeFile,
    RemoteIpxe,
    StockIpxe,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from ectools.netboot.settings.model import NetbootSettings

_log = log.Log(__name__)

# Names of the project and of distributions: with drivers of its own, and with the firmware's.
_WITH_DRIVERS = ("ipxe.efi", "ipxe-x86_64.efi", "ipxe-amd64.efi")
# nixpkgs has the last alone, which takes every NIC that the firmware knows.
_WITHOUT_DRIVERS = ("snponly.efi", "ipxe-snponly-x86_64.efi", "snponly-x86_64.efi", "snp.efi")
_STOCK_NAMES = {
    StockBinary.IPXE: (*_WITH_DRIVERS, *_WITHOUT_DRIVERS),
    StockBinary.SNPONLY: _WITHOUT_DRIVERS,
}
_STOCK_DIRECTORIES = tuple(
    Path(directory)
    for directory in (
        "/usr/lib/ipxe",  # Debian, Ubuntu
        "/usr/share/ipxe",  # Fedora, openSUSE
        "/usr/share/ipxe/x86_64",  # Arch
    )
)
# Beside those directories: where a distribution has the binaries of the other architectures.
_STOCK_OTHERS = {
    Binary.BIOS: ("undionly.kpxe", "x86_64/undionly.kpxe"),
    Binary.ARM64: (
        *("ipxe-arm64.efi", "arm64-efi/ipxe.efi", "arm64/ipxe.efi", "ipxe-aarch64.efi"),
        *("arm64-efi/snponly.efi", "arm64/snponly.efi"),
    ),
}
_NEWER = (
    "take one of 2024 or later: Debian 13's package ipxe, nixpkgs' ipxe, or one from https://ipxe.org; "
    f'where it is not installed, {NETBOOT_OPTIONS}.ipxe.strategy "local" and ipxe.localFile name the file'
)
_LOOP = "does not look for autoexec.ipxe, and would load itself for ever"
_MAX_BINARY = 64 * 1024**2
# A BIOS program is loaded below 640 KiB.
_MAX_BIOS = 640 * 1024


class BinaryError(EcError):
    """A boot binary cannot be had, or cannot be used; the message names it."""


def choose_binaries(
    settings: NetbootSettings, *, present: bytes | None = None, stock: Collection[StockBinary] = ()
) -> dict[str, bytes]:
    """File name in the TFTP directory → content, for each architecture that has a binary.

    ``stock``: those of x86-64 that some machines get, beside the one that all others do. ``present``: what
    is served for x86-64 now; it is not downloaded again where it is the pinned one. Raises BinaryError,
    FileError, and InputError where a setting names what cannot be served.
    """
    names = build_filenames(settings)
    first = _choose_x86_64(settings.ipxe.x86_64, present=present)
    _check_loads_script(first, settings)
    chosen = {settings.tftp_boot_filename: first.data}
    for kind, path in settings.ipxe.files.items():
        name = names[kind]
        if name in chosen:
            raise InputError(
                f"{NETBOOT_OPTIONS}.tftpBootFilename: {name} is the name of the binary for {kind}",
                hint="choose another name, and tell the router",
            )
        binary = _read_checked(path, kind)
        # A BIOS build is compressed: a script inside cannot be seen, and it never looks for one.
        if kind is not Binary.BIOS:
            _check_loads_script(binary, settings)
        chosen[name] = binary.data
    source = settings.ipxe.x86_64
    own = source.binary if isinstance(source, StockIpxe) else StockBinary.IPXE
    if isinstance(source, StockIpxe):
        for other in {*stock} - {own}:
            chosen[load_protocols().stock[other]] = find_stock(source.package, other).data
    for kind in sorted(settings.ipxe.looked_for):
        found = find_stock_of(kind, own)
        if found is not None and names[kind] not in chosen:
            chosen[names[kind]] = found.data
    return chosen


def _choose_x86_64(source: StockIpxe | IpxeFile | RemoteIpxe, *, present: bytes | None) -> BootBinary:
    match source:
        case StockIpxe(package=package, binary=binary):
            return find_stock(package, binary)
        case IpxeFile(path=path):
            return _read_checked(path, Binary.X86_64)
        case RemoteIpxe():
            return _fetch_remote(source, present=present)
    assert_never(source)


def find_stock(package: Path | None, stock: StockBinary = StockBinary.IPXE) -> BootBinary:
    """The first binary of kind ``stock`` that runs ``autoexec.ipxe``; a warning where it does over TFTP only.

    ``package`` None: it is looked for where distributions put it. Raises BinaryError, which names each one
    that was found and why it will not do.
    """
    directories = _STOCK_DIRECTORIES if package is None else (package,)
    rejected = []
    for path in _list_stock(directories, stock):
        binary = BootBinary(where=str(path), data=read_regular(path, limit=_MAX_BINARY))
        facts = binary.facts
        fault = find_fault(binary, Binary.X86_64)
        if fault is None and facts.autoexec is Autoexec.NOWHERE:
            fault = f"{facts.title} {_LOOP}" if facts.is_ipxe else "is no iPXE"
        if fault is not None:
            rejected.append(f"{path}: {fault}")
            continue
        if facts.autoexec is Autoexec.TFTP:
            _log.warning(
                "this iPXE fetches autoexec.ipxe over TFTP only: clients of UEFI HTTP boot will not get on",
                file=str(path),
                version=facts.version,
                hint=_NEWER,
            )
        return binary
    looked = ", ".join(map(str, directories))
    if rejected:
        raise BinaryError("no iPXE here runs autoexec.ipxe:\n  " + "\n  ".join(rejected), hint=_NEWER)
    what = "iPXE" if stock is StockBinary.IPXE else "iPXE without drivers (snponly.efi)"
    raise BinaryError(f"no stock {what} for x86-64 UEFI in {looked}", hint=f"install one; {_NEWER}")


def find_stock_of(kind: Binary, stock: StockBinary = StockBinary.IPXE) -> BootBinary | None:
    """The first binary of another architecture where distributions put it; None where none will do.

    One of the kind ``stock`` goes before others: not all distributions have both.

    A UEFI one has to look for ``autoexec.ipxe``. A BIOS one need not: who runs it gets its script by DHCP.
    """
    wanted = "snponly" if stock is StockBinary.SNPONLY else ""
    names = sorted(_STOCK_OTHERS[kind], key=lambda name: wanted not in name)
    for directory in _STOCK_DIRECTORIES:
        for path in (directory / name for name in names):
            if not path.is_file():
                continue
            binary = BootBinary(where=str(path), data=read_regular(path, limit=_MAX_BINARY))
            fault = find_fault(binary, kind)
            if fault is None and kind is not Binary.BIOS and binary.facts.autoexec is Autoexec.NOWHERE:
                fault = "it does not look for autoexec.ipxe"
            if fault is None:
                return binary
            _log.info("a boot binary that is installed is not offered", file=str(path), reason=fault)
    return None


def _list_stock(directories: tuple[Path, ...], stock: StockBinary) -> Iterator[Path]:
    for directory in directories:
        yield from (directory / name for name in _STOCK_NAMES[stock] if (directory / name).is_file())


def _fetch_remote(remote: RemoteIpxe, *, present: bytes | None) -> BootBinary:
    url, pinned = remote.url, remote.sha256
    if present is not None and hashlib.sha256(present).hexdigest() == pinned:
        return BootBinary(where=url, data=present)
    if urlsplit(url).scheme not in {"http", "https"}:
        raise InputError(
            f"{NETBOOT_OPTIONS}.ipxe.remoteUrl: {url}: only http and https can be downloaded from"
        )
    from ectools.fetch.client import FetchError, HttpClient
    from ectools.fetch.retry import RetryPolicy
    from ectools.fetch.trust import load_trust

    trust = load_trust(remote.ca_file, option=f"{NETBOOT_OPTIONS}.ipxe.remoteCaFile")
    client = HttpClient(url, retry=RetryPolicy(), trust=trust)
    try:
        binary = BootBinary(where=url, data=client.read(url, limit=_MAX_BINARY, what="the boot binary"))
    except FetchError as error:
        hint = error.hint or f"{NETBOOT_OPTIONS}.ipxe.remoteUrl names it; it has to be public"
        raise BinaryError(error.message, hint=hint) from error
    got = hashlib.sha256(binary.data).hexdigest()
    if got != pinned:
        raise BinaryError(
            f"{url}: has the SHA-256 {got}, and {NETBOOT_OPTIONS}.ipxe.remoteSha256 is {pinned}",
            hint="what is served there has changed: look at it before you pin it",
        )
    _expect(binary, Binary.X86_64)
    return binary


def _read_checked(path: Path, kind: Binary) -> BootBinary:
    binary = BootBinary(where=str(path), data=read_regular(path, limit=_MAX_BINARY))
    _expect(binary, kind)
    return binary


def _expect(binary: BootBinary, kind: Binary) -> None:
    fault = find_fault(binary, kind)
    if fault is not None:
        raise InputError(
            f"{binary.where}: cannot be the boot binary for {kind}: {fault}", hint=_EXPECTED[kind]
        )


_EXPECTED = {
    Binary.BIOS: "iPXE's undionly.kpxe is one",
    Binary.IA32: "iPXE's bin-i386-efi/ipxe.efi is one",
    Binary.X86_64: "iPXE's bin-x86_64-efi/ipxe.efi is one",
    Binary.ARM64: "iPXE's bin-arm64-efi/ipxe.efi is one",
}


def find_fault(binary: BootBinary, kind: Binary) -> str | None:
    """Why a file cannot be the binary of an architecture (a sentence's end); None where it can."""
    data, expected = binary.data, load_protocols().binaries[kind].pe_machine
    if not data:
        return "it is empty"
    if expected is None:
        # A PXE BIOS jumps to its first byte: iPXE's is a far jump.
        if data[:1] not in (b"\xea", b"\xe9", b"\xeb"):
            return "it is no PXE program"
        return f"it is larger than {_MAX_BIOS} bytes" if len(data) > _MAX_BIOS else None
    machine = binary.facts.machine
    if machine is None:
        return "it is no UEFI application"
    if machine != expected:
        return f"it is a UEFI application for machine {machine:#06x}, not {expected:#06x}"
    return None


def _check_loads_script(binary: BootBinary, settings: NetbootSettings) -> None:
    """Refuse an iPXE without a script inside that looks for none: DHCP gives it the file that it came from.

    With ProxyDHCP it is told the script's address, unless another DHCP server names a file first: a warning.
    """
    facts = binary.facts
    if not facts.is_ipxe or facts.embedded is not None or facts.autoexec is not Autoexec.NOWHERE:
        return
    fault = f"{facts.title} has no script inside, {_LOOP}"
    if settings.proxy_dhcp is None and not settings.ipxe.force:
        raise InputError(
            f"{binary.where}: {fault}",
            hint=f"{_NEWER}; ProxyDHCP tells it the script's address; where your DHCP server does, "
            f"--force or {NETBOOT_OPTIONS}.ipxe.force = true serves it",
        )
    _log.warning(
        f"{fault} where DHCP does not tell it the script's address",
        file=binary.where,
        version=facts.version,
    )
