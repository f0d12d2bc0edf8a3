"""An archive → the system that it holds, in one pass; what cannot be staged is told by name."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from ectools.archive.decompress import ArchiveError, decompress
from ectools.archive.extract import extract
from ectools.errors import show_list
from ectools.fetch.read_ahead import read_ahead
from ectools.ipxe.language import NETBOOT_NAME
from ectools.netboot.kernel import find_named_architecture
from ectools.netboot.release.boot_entry import read_boot_entry
from ectools.netboot.release.checksums import verify_checksum
from ectools.netboot.release.manifest import BootEntry, System
from ectools.netboot.release.systems import read_kernel_architecture

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from pathlib import Path

    from ectools.archive.file_record import FileRecord
    from ectools.archive.limits import ArchiveLimits
    from ectools.netboot.release.download import Archive
    from ectools.netboot.release.source import ArchiveSource

_AHEAD_BYTES = 8 << 20

OnProgress = Callable[[str, int, int | None], None]
"""Is told an archive's name, its bytes that have come, and all its bytes where that is known."""


def unpack_archive(
    source: ArchiveSource, directory: Path, *, limits: ArchiveLimits, on_progress: OnProgress
) -> dict[str, FileRecord]:
    """The files of an archive, in the empty ``directory``. Raises EcError."""
    archive = source.archive
    with contextlib.closing(_watch(archive, on_progress)) as chunks:
        unpacked = decompress(chunks, archive=archive.name, limits=limits)
        files = extract(unpacked, directory, archive=archive.name, limits=limits)
    if source.wanted_sha256 is not None:
        verify_checksum(
            archive.sha256(), wanted=source.wanted_sha256, archive=archive.name, where=source.sums
        )
    if NETBOOT_NAME not in files:
        raise ArchiveError(
            f"{archive.name}: has no {NETBOOT_NAME}; it has {show_list(sorted(files), nothing='no file')}",
            hint="a release's archive holds kernel, initrd and netboot.ipxe, in no directory",
        )
    return files


def describe_system(
    source: ArchiveSource, directory: Path, files: Mapping[str, FileRecord], *, prefix: str
) -> System:
    """The system that was unpacked. Raises ArchiveError where its name says another architecture.

    Raises BootEntryError where nothing can be booted of it.
    """
    archive = source.archive
    sizes = {name: record.size for name, record in files.items()}
    boot = read_boot_entry(directory, sizes, where=archive.name)
    architecture = read_kernel_architecture(directory / boot.kernel)
    named = find_named_architecture(source.system)
    if None not in (architecture, named) and architecture is not named:
        raise ArchiveError(
            f"{archive.name}: is called an archive for {named}, and its kernel {boot.kernel} is for "
            f"{architecture}",
            hint="machines would be given a kernel that they cannot run: publish it under its own name",
        )
    return System(
        name=source.system,
        architecture=architecture,
        source=archive.source,
        archive_name=archive.name,
        archive_sha256=source.wanted_sha256 or archive.sha256(),
        boot=BootEntry(
            kernel=f"{prefix}{boot.kernel}",
            arguments=boot.arguments,
            initrds=tuple(f"{prefix}{name}" for name in boot.initrds),
        ),
    )


def check_told_apart(systems: Sequence[System]) -> None:
    """Raises ArchiveError where of several systems one is for no architecture that is known here."""
    for each in systems if len(systems) > 1 else ():
        if each.architecture is None:
            raise ArchiveError(
                f"{each.archive_name}: what its kernel {each.boot.kernel} runs on cannot be told, and beside "
                "other systems a machine is given the one for its architecture",
                hint="stage it alone, or with a kernel that says what it is for",
            )


def _watch(archive: Archive, on_progress: OnProgress) -> Generator[bytes, None, None]:
    done = 0
    with contextlib.closing(read_ahead(archive.chunks(), limit=_AHEAD_BYTES)) as chunks:
        for chunk in chunks:
            done += len(chunk)
            on_progress(archive.name, done, archive.size)
            yield chunk
