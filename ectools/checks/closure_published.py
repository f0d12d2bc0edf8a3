"""The closure of a published system: a directory or an archive as network boot has it, or a plain listing.

A release's ``netboot.ipxe`` names the system (``init=/nix/store/…/init``); its ``closure.txt``, where it has
one, lists the system's store paths, one a line. A release of several systems has a directory of each one's
name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.checks.closure import STORE_PATH_PATTERN, Closure, ClosureSource, read_requisites
from ectools.checks.evaluation import FailedEvaluationError
from ectools.errors import InputError
from ectools.files import read_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

LISTING = "closure.txt"
SCRIPT = "netboot.ipxe"
_LISTING_BYTES = 16 << 20
_CHUNK = 1 << 20
_STARTS_OF_ARCHIVES = (b"\x1f\x8b", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")


def read_published(path: Path, system: str) -> Closure:
    """The closure of a release's directory, a release's archive, or a listing. Raises InputError and others.

    Of several systems of a release it is that of ``system``. A release without a listing is known by its
    system alone, unless that is in this machine's store.
    """
    if path.is_dir():
        directory = _find_system_directory(path, system)
        return _read_release(str(directory), _read_directory(directory))
    if not path.is_file():
        raise InputError(f"{path}: no such file or directory")
    with path.open("rb") as file:
        start = file.read(max(map(len, _STARTS_OF_ARCHIVES)))
    if start.startswith(_STARTS_OF_ARCHIVES):
        return _read_release(str(path), _read_archive(path))
    paths = _parse_listing(str(path), read_bytes(path))
    systems = [each for each in paths if each.partition("-")[2].startswith("nixos-system-")]
    toplevel = systems[0] if len(systems) == 1 else None
    return Closure(origin=ClosureSource.PUBLISHED, source=str(path), toplevel=toplevel, paths=paths)


def _find_system_directory(release: Path, system: str) -> Path:
    if (release / SCRIPT).is_file():
        return release
    systems = sorted(each.parent.name for each in release.glob(f"*/{SCRIPT}"))
    if systems and system not in systems:
        raise InputError(
            f"{release}: holds no system {system}; it has {', '.join(systems)}",
            hint="systems are called as their nixosConfigurations are; or name the system's own directory",
        )
    return release / system if systems else release


def _read_directory(directory: Path) -> dict[str, bytes]:
    return {name: read_bytes(directory / name) for name in (SCRIPT, LISTING) if (directory / name).is_file()}


def _read_archive(path: Path) -> dict[str, bytes]:
    """The two small files of an archive; the others are read past."""
    from ectools.archive.blocks import Blocks
    from ectools.archive.decompress import decompress
    from ectools.archive.limits import ArchiveLimits
    from ectools.archive.tar import EntryKind, TarReader

    limits = ArchiveLimits()
    chunks = decompress(_read_chunks(path), archive=str(path), limits=limits)
    reader = TarReader(Blocks(chunks, archive=str(path)), limits=limits)
    found = {}
    for entry in reader.entries():
        if entry.kind is not EntryKind.FILE:
            continue
        name = entry.name.rsplit("/", 1)[-1]
        if name in (SCRIPT, LISTING) and entry.size <= _LISTING_BYTES:
            found[name] = reader.blocks.take(entry.size)
        else:
            for _ in reader.blocks.pieces(entry.size):
                pass
        reader.blocks.skip_padding(entry.size)
    return found


def _read_chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _read_release(source: str, files: Mapping[str, bytes]) -> Closure:
    if SCRIPT not in files:
        raise InputError(
            f"{source}: holds no {SCRIPT}",
            hint="a release of network boot, or a list of store paths, was expected",
        )
    toplevel = _find_system(source, files[SCRIPT])
    if LISTING in files:
        paths = _parse_listing(f"{source}: {LISTING}", files[LISTING])
        if toplevel not in paths:
            raise InputError(f"{source}: {LISTING} does not list {toplevel}, which {SCRIPT} boots")
        return Closure(origin=ClosureSource.PUBLISHED, source=source, toplevel=toplevel, paths=paths)
    try:
        known = read_requisites(toplevel)
    except FailedEvaluationError:
        return Closure(origin=ClosureSource.PUBLISHED, source=source, toplevel=toplevel, paths=None)
    return Closure(origin=ClosureSource.PUBLISHED, source=source, toplevel=toplevel, paths=known)


def _find_system(source: str, script: bytes) -> str:
    systems = {
        match[0]
        for word in script.decode("utf-8", "replace").split()
        if word.startswith("init=") and (match := STORE_PATH_PATTERN.match(word.removeprefix("init=")))
    }
    if len(systems) != 1:
        raise InputError(f"{source}: {SCRIPT} names {len(systems)} systems by init=/nix/store/…, not one")
    return systems.pop()


def _parse_listing(source: str, text: bytes) -> frozenset[str]:
    lines = text.decode("utf-8", "replace").split()
    bad = next((line for line in lines if not STORE_PATH_PATTERN.fullmatch(line)), None)
    if bad is not None:
        raise InputError(f"{source}: {bad[:100]!r} is no store path; one a line was expected")
    if not lines:
        raise InputError(f"{source}: lists no store path")
    return frozenset(lines)
