"""Boot binaries: small ones made up for the tests, and the real ones of Debian's releases."""

from __future__ import annotations

import re
import shutil
import struct
import tempfile
from pathlib import Path

from support.needs import give_up, require_tool

from ectools.demo.payload import cache_directory
from ectools.files import hold_lock
from ectools.processes import ProcessError, run

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


def _find_tree(suite: str, name: str, packages: tuple[str, ...]) -> Path:
    require_tool("apt-get", "this test takes its boot binaries from Debian's packages")
    cache = cache_directory()
    tree = cache / f"{name}-{suite}"
    cache.mkdir(parents=True, exist_ok=True)
    with hold_lock(cache / f"{tree.name}.lock", what=str(tree), wait_seconds=1800):
        if not tree.is_dir():
            with tempfile.TemporaryDirectory(prefix=f".{tree.name}.", dir=cache) as work:
                try:
                    _unpack(suite, packages, Path(work))
                except ProcessError as error:
                    give_up(f"Debian's packages of {suite} cannot be had: {error.message}")
                (Path(work) / "tree").rename(tree)
    return tree


def _unpack(suite: str, packages: tuple[str, ...], work: Path) -> None:
    """An apt with lists, sources and state of its own."""
    for directory in ("lists/partial", "archives/partial", "sources", "deb", "tree"):
        (work / directory).mkdir(parents=True)
    (work / "status").touch()
    _write_sources(suite, work / "sources")
    settings = {
        "Dir::State": work,
        "Dir::State::lists": work / "lists",
        "Dir::State::status": work / "status",
        "Dir::Cache": work,
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": work / "sources",
        "APT::Sandbox::User": "root",
    }
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    run(["apt-get", *options, "-qq", "update"], timeout=600)
    run(["apt-get", *options, "-qq", "download", *packages], cwd=work / "deb", timeout=600)
    for archive in (work / "deb").glob("*.deb"):
        run(["dpkg-deb", "--extract", str(archive), str(work / "tree")], timeout=120)


def _write_sources(suite: str, directory: Path) -> None:
    """The system's own sources of its release, with another suite's name."""
    release = Path("/etc/os-release").read_text()
    found = re.search(r"^VERSION_CODENAME=(\w+)$", release, re.MULTILINE)
    if found is None:
        give_up("this system's release has no code name: its package sources tell nothing of another one's")
    here = found[1]
    one_line = re.compile(rf"^(deb\s+(?:\[[^\]]*\]\s+)?\S+\s+){here}(\s.*)$")
    for file in (Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*.list")):
        lines = file.read_text().splitlines() if file.exists() else []
        matched = [match for match in map(one_line.match, lines) if match]
        if matched:
            text = "".join(f"{match[1]}{suite}{match[2]}\n" for match in matched)
            (directory / file.with_suffix(".list").name).write_text(text)
    for file in Path("/etc/apt/sources.list.d").glob("*.sources"):
        stanzas = [
            re.sub(r"^Suites:.*$", f"Suites: {suite}", stanza, flags=re.MULTILINE)
            for stanza in re.split(r"\n\s*\n", file.read_text())
            if re.search(rf"^Suites:(.*\s)?{here}(\s.*)?$", stanza, re.MULTILINE)
        ]
        if stanzas:
            (directory / file.name).write_text("\n\n".join(stanzas) + "\n")


_OVMF = (
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
)
# With Microsoft's keys in its variables, so that Secure Boot is on.
_SECURE_OVMF = (
    ("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd", "/usr/share/edk2/ovmf/OVMF_VARS.secboot.fd"),
)


def copy_ovmf(directory: Path, *, secure: bool = False) -> tuple[Path, Path]:
    """OVMF's code, and a copy of its variables that a guest may write to. ``secure``: with Secure Boot."""
    places = _SECURE_OVMF if secure else _OVMF
    found = next((pair for pair in places if all(Path(file).exists() for file in pair)), None)
    if found is None:
        give_up("OVMF is not installed (Debian: ovmf)")
    copy = directory / "ovmf-variables.fd"
    shutil.copyfile(found[1], copy)
    return Path(found[0]), copy
