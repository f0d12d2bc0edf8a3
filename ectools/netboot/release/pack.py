"""Netboot outputs (kernel, initrd, netboot.ipxe) → a release's archives and sums, the same at every run.

What could not be staged is not packed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ectools import log
from ectools.archive.names import find_name_fault, fold_name, is_macos_record
from ectools.errors import EcError, InputError, cut
from ectools.files import read_regular, write_atomic
from ectools.ipxe.language import NETBOOT_NAME
from ectools.netboot.depot.interface import TAG_NAME
from ectools.netboot.kernel import KernelArchitecture
from ectools.netboot.release.archive_writer import Compression, write_archive
from ectools.netboot.release.binary_cache import CACHE_NAME
from ectools.netboot.release.boot_entry import read_boot_entry
from ectools.netboot.release.boot_statement import sign_boot
from ectools.netboot.release.checksums import (
    MAX_SUMS_BYTES,
    SUMS_NAME,
    parse_checksums,
    parse_release_times,
    render_checksums,
)
from ectools.netboot.release.manifest import ID_PATTERN
from ectools.netboot.release.systems import read_kernel_architecture
from ectools.netboot.signature import SUFFIXES, make_signature
from ectools.netboot.signature.key_file import read_private_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ectools.netboot.release.manifest import BootEntry
    from ectools.netboot.settings.model import SignatureFormat

    Caches = Mapping[KernelArchitecture, Mapping[str, Path]]

_log = log.Log(__name__)

_DAY = re.compile(r"(?:^|-)v([0-9]{4})\.([0-9]{2})\.([0-9]{2})(?:\.([0-9]{1,4}))?$")


class PackError(EcError):
    """A directory is no netboot output, or the archive cannot be written."""


@dataclass(frozen=True, kw_only=True)
class SigningKey:
    """The publisher's key: ``file`` holds a private one that is not encrypted.

    ``content``: of the file, where it was read already, which of a pipe is possible once.
    """

    format: SignatureFormat
    file: Path
    content: bytes | None = field(default=None, repr=False)

    def read(self) -> bytes:
        """The private key, which can sign. Raises FileError, SignatureError."""
        return read_private_key(self.format, self.file, content=self.content)


@dataclass(frozen=True, kw_only=True)
class PackedArchive:
    """An archive that was written, of the netboot output for this architecture."""

    path: Path
    architecture: KernelArchitecture
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Packed:
    """What was written; ``signature`` is None where nobody signed."""

    archives: tuple[PackedArchive, ...]
    sums: Path
    signature: Path | None


@dataclass(frozen=True, kw_only=True)
class _Output:
    """A netboot output: name → file, and the architecture that it is for; ``added``: name → content."""

    directory: Path
    architecture: KernelArchitecture
    files: Mapping[str, Path]
    boot: BootEntry
    added: Mapping[str, bytes] = field(default_factory=dict)


def pack(
    directories: Sequence[Path],
    out: Path,
    *,
    tag: str,
    architecture: KernelArchitecture | None = None,
    compression: Compression = Compression.GZIP,
    key: SigningKey | None = None,
    released_at: int | None = None,
    make_caches: Callable[[], Caches] = dict,
) -> Packed:
    """The archives of ``directories``, one a system, and their SHA256SUMS.txt, in ``out``.

    With a key, and a time, each has a signed statement of what it boots.

    Other archives' sums stay in that. ``architecture`` None: the kernel's, x86-64 where it does not say one.
    ``released_at`` is when it is released, in seconds since 1970; the day in the tag where nobody says.
    ``make_caches`` gives installed systems' binary caches, which may take minutes: it is called once all else
    is known to be good. Links are followed: an output of Nix is made of them. Raises PackError, InputError,
    BootEntryError, SignatureError, FileError; nothing is written before all that is packed is known to be
    good.
    """
    if TAG_NAME.fullmatch(tag) is None or ID_PATTERN.fullmatch(tag) is not None:
        raise InputError(
            f"{cut(repr(tag))}: not a tag for an archive's name: letters, digits and . _ + - were expected",
            hint="of 128 characters at most, and not in the form of a staged release's id: boot-v2026.03.02",
        )
    outputs = _find_outputs(directories, out, architecture)
    # Before anything is written: a key that cannot sign.
    private_key = b"" if key is None else key.read()
    time = find_tag_time(tag) if released_at is None else released_at
    outputs = _add_caches(outputs, make_caches())
    if key is not None and time is not None:
        outputs = [_add_statement(each, tag, time, key.format, private_key=private_key) for each in outputs]
    archives = tuple(_pack_output(output, out, tag=tag, compression=compression) for output in outputs)
    sums = out / SUMS_NAME
    before = read_regular(sums, limit=MAX_SUMS_BYTES) if sums.exists() else b""
    listed = parse_checksums(before, where=str(sums)) if before else {}
    times = parse_release_times(before, where=str(sums))
    for archive in archives:
        listed[archive.path.name] = archive.sha256
        times.pop(archive.path.name, None)
        if time is not None:
            times[archive.path.name] = time
    if time is None and key is not None:
        _log.warning(
            "the tag names no day: by these sums no boot server can tell an old release from a new one",
            tag=tag,
        )
    text = render_checksums(listed, times)
    write_atomic(sums, text)
    signature = None if key is None else _sign(sums, text, key.format, private_key=private_key)
    for suffix in sorted(set(SUFFIXES.values())):
        other = sums.with_name(sums.name + suffix)
        if text != before and other != signature and other.exists():
            _log.warning("the sums have changed, and this is a signature of the old ones", file=str(other))
    return Packed(archives=archives, sums=sums, signature=signature)


def _find_outputs(
    directories: Sequence[Path], out: Path, architecture: KernelArchitecture | None
) -> list[_Output]:
    found: dict[KernelArchitecture, _Output] = {}
    for directory in directories:
        if out.resolve().is_relative_to(directory.resolve()):
            raise InputError(
                f"{out}: lies in the directory that is packed", hint="write the archive somewhere else"
            )
        output = _find_output(directory, architecture)
        other = found.setdefault(output.architecture, output)
        if other is not output:
            raise InputError(
                f"{other.directory} and {directory}: both are for {output.architecture}",
                hint="a release has one archive for an architecture of one name",
            )
    return list(found.values())


def _find_output(directory: Path, architecture: KernelArchitecture | None) -> _Output:
    """A netboot output that can be packed; ``architecture`` is what somebody says that it is for."""
    files = _find_files(directory)
    sizes = {name: path.stat().st_size for name, path in files.items()}
    boot = read_boot_entry(directory, sizes, where=str(directory))
    found = read_kernel_architecture(files[boot.kernel].resolve())
    if None not in (found, architecture) and found is not architecture:
        raise InputError(
            f"{directory}: is to be packed for {architecture}, and its kernel {boot.kernel} is for {found}",
            hint="without --system, the kernel says what the archive is called",
        )
    return _Output(
        directory=directory,
        architecture=architecture or found or KernelArchitecture.X86_64,
        files=files,
        boot=boot,
    )


def _add_caches(outputs: Sequence[_Output], caches: Caches) -> list[_Output]:
    there = {output.architecture for output in outputs}
    for architecture in caches:
        if architecture not in there:
            raise InputError(
                f"there is an installed system for {architecture}, and no netboot output for it",
                hint="name the netboot output that machines of this kind boot, or leave the system out",
            )
    added = []
    for output in outputs:
        cache = caches.get(output.architecture, {})
        taken = [name for name in output.files if name.split("/")[0] == CACHE_NAME]
        if cache and taken:
            raise InputError(
                f"{output.directory}: has a {taken[0]}, where the systems' binary cache is to be"
            )
        added.append(replace(output, files={**output.files, **cache}))
    return added


def _add_statement(
    output: _Output, tag: str, time: int, form: SignatureFormat, *, private_key: bytes
) -> _Output:
    added = sign_boot(
        output.boot,
        output.files,
        system=_name_system(output),
        architecture=output.architecture,
        tag=tag,
        counter=time,
        form=form,
        private_key=private_key,
    )
    taken = sorted(set(added) & set(output.files))
    if taken:
        raise InputError(f"{output.directory}: has a {taken[0]}, which is made here")
    return replace(output, added=added)


def _name_system(output: _Output) -> str:
    return f"ec-runner-{output.architecture}-netboot"


def _pack_output(output: _Output, out: Path, *, tag: str, compression: Compression) -> PackedArchive:
    path = out / f"{_name_system(output)}-{tag}.tar.{compression}"
    try:
        out.mkdir(parents=True, exist_ok=True)
        digest = write_archive({**output.files, **output.added}, path, compression)
    except OSError as error:
        raise PackError(f"{error.filename or path}: {error.strerror or error}") from error
    return PackedArchive(path=path, architecture=output.architecture, sha256=digest)


def find_tag_time(tag: str) -> int | None:
    """When a release was made, by its tag: ``boot-v2026.03.02``, and ``boot-v2026.03.02.1`` a second later.

    In seconds since 1970; None where the tag names no day.
    """
    matched = _DAY.search(tag)
    if matched is None:
        return None
    year, month, day, number = (int(group or 0) for group in matched.groups())
    try:
        return int(datetime(year, month, day, tzinfo=UTC).timestamp()) + number
    except ValueError:
        return None


def _find_files(directory: Path) -> dict[str, Path]:
    """Name → file, of all below ``directory`` but what Nix keeps for itself (``nix-support``), and macOS."""
    if not directory.is_dir():
        raise InputError(
            f"{directory}: not a directory", hint="name a netboot output: result of `nix build …netboot`"
        )
    found = {}
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if name.split("/")[0] == "nix-support" or (path.is_dir() and not path.is_symlink()):
            continue
        if is_macos_record(name):
            continue
        if not path.is_file():
            raise PackError(f"{path}: not a file, nor a link to one")
        if fault := find_name_fault(name):
            raise PackError(f"{path}: its name {fault}")
        found[name] = path
    _check_apart(directory, found)
    if NETBOOT_NAME not in found:
        raise PackError(
            f"{directory}: has no {NETBOOT_NAME}",
            hint="name a netboot output: kernel, initrd and netboot.ipxe",
        )
    return found


def _check_apart(directory: Path, names: Iterable[str]) -> None:
    taken: dict[str, str] = {}
    for name in names:
        for part in (name, *map(str, PurePosixPath(name).parents)):
            other = taken.setdefault(fold_name(part), part)
            if other != part:
                raise PackError(f"{directory / part}: its name and {other!r} differ by case or form alone")


def _sign(sums: Path, text: bytes, form: SignatureFormat, *, private_key: bytes) -> Path:
    path = sums.with_name(sums.name + SUFFIXES[form])
    write_atomic(path, make_signature(form, data=text, private_key=private_key))
    return path
