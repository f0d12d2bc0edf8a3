"""Whether what was packed is one release of one tag, which boot hosts stage and nodes take: before it is
published, since what is published never changes.
"""

from __future__ import annotations

import itertools
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ectools.archive.limits import ArchiveLimits
from ectools.errors import InputError, cut
from ectools.files import read_regular
from ectools.netboot.depot.interface import RECORD_NAME
from ectools.netboot.kernel import KernelArchitecture, find_named_architecture
from ectools.netboot.publishing.provenance import ENVELOPE_NAME
from ectools.netboot.release.binary_cache import CACHE_NAME, ROOTS_NAME
from ectools.netboot.release.boot_statement import STATEMENT_NAME, BootStatement
from ectools.netboot.release.checksums import SUMS_NAME
from ectools.netboot.release.download import LocalArchive
from ectools.netboot.release.manifest import ID_PATTERN
from ectools.netboot.release.source import ArchiveSource
from ectools.netboot.release.systems import (
    find_foreign_tag,
    find_system_name,
    is_archive_name,
    is_system_name,
)
from ectools.netboot.release.unpack import check_told_apart, describe_system, unpack_archive
from ectools.netboot.signature import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from ectools.netboot.release.manifest import System

_ONE_RELEASE = "pack each release into an empty directory of its own: the sums of one are published whole"
# What is a word of a URL, unescaped, in every depot.
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,254}", re.ASCII)
_SUFFIXES = tuple(sorted(set(SUFFIXES.values())))
_OWN_NAMES = {SUMS_NAME, RECORD_NAME, ENVELOPE_NAME, *(f"{SUMS_NAME}{each}" for each in _SUFFIXES)}
_MAX_STATEMENT = 1 << 20


def check_listed(names: Collection[str], *, tag: str, where: str) -> list[str]:
    """The archives among the names that a release's sums list: one a system, and of no other tag.

    ``where`` names the sums. Raises InputError.
    """
    if ID_PATTERN.fullmatch(tag):
        raise InputError(
            f"{tag}: looks like the id of a staged release, and would never be found as a tag",
            hint="name it otherwise: boot-v2026.03.02",
        )
    for name in sorted(names):
        if name in _OWN_NAMES or _FILE_NAME.fullmatch(name) is None:
            why = "is made when it is published" if name in _OWN_NAMES else "is no name of a published file"
            raise InputError(
                f"{where}: lists {cut(name)!r}, which {why}",
                hint=f"names of letters, digits and . _ + -; {_ONE_RELEASE}",
            )
    archives = sorted(name for name in names if is_archive_name(name))
    if not archives:
        raise InputError(
            f"{where}: lists no archive", hint="`ectools netboot pack` makes one of a netboot output"
        )
    by_system: dict[str, str] = {}
    for name in archives:
        _check_tag(name, tag=tag, where=where)
        system = find_system_name(name, tag)
        if not is_system_name(system):
            raise InputError(
                f"{where}: lists {name}: {system!r} cannot be the name of a system",
                hint="an archive is called as its system, such as ec-runner-x86_64-netboot-TAG.tar.gz",
            )
        other = by_system.setdefault(system, name)
        if other != name:
            raise InputError(
                f"{where}: lists {other} and {name}: both are of the system {system}, and no boot host "
                "could say which is meant",
                hint=_ONE_RELEASE,
            )
    return archives


def _check_tag(name: str, *, tag: str, where: str) -> None:
    named = find_foreign_tag(name, tag)
    if named is not None:
        raise InputError(
            f"{where}: lists {name}, which is an archive of the tag {named}, and the tag is {tag}",
            hint=f"publish it as --tag {named}, or pack it anew. {_ONE_RELEASE}",
        )


def check_archives(
    directory: Path, digests: Mapping[str, str], times: Mapping[str, int], *, tag: str, work: Path
) -> None:
    """Unpack each archive (name → SHA-256) as a boot host does, and hold its statement against it as a node.

    ``times``: when each is released, by the sums. It takes as much room below ``work`` as the largest of them
    unpacks to. Raises InputError, ArchiveError, BootEntryError.
    """
    signed_as = [each for each in _SUFFIXES if (directory / f"{SUMS_NAME}{each}").is_file()]
    systems = []
    for name in sorted(digests):
        path = directory / name
        source = ArchiveSource(
            system=find_system_name(name, tag),
            archive=LocalArchive(path, size=path.stat().st_size),
            tag=tag,
            wanted_sha256=digests[name],
            sums=str(directory / SUMS_NAME),
            is_signed=bool(signed_as),
            released_at=times.get(name),
        )
        with tempfile.TemporaryDirectory(prefix="unpacked-", dir=work) as made:
            unpacked = Path(made)
            files = unpack_archive(
                source, unpacked, limits=ArchiveLimits(), on_progress=lambda _name, _done, _size: None
            )
            system = describe_system(source, unpacked, files, prefix="")
            systems.append(system)
            if STATEMENT_NAME in files:
                _check_signatures(path, files, signed_as)
                wanted = BootStatement(
                    system=system.name,
                    architecture=_find_architecture(system),
                    tag=tag,
                    counter=times.get(name, 0),
                    boot=system.boot,
                    files=files,
                    installed=_read_roots(unpacked),
                )
                _check_statement(path, unpacked / STATEMENT_NAME, wanted)
    check_told_apart(systems)


def _check_signatures(archive: Path, names: Collection[str], signed_as: Sequence[str]) -> None:
    stated = [each for each in _SUFFIXES if f"{STATEMENT_NAME}{each}" in names]
    if stated != list(signed_as):
        one, other = (" and ".join(each) or "by nothing" for each in (stated, signed_as))
        raise InputError(
            f"{archive}: its {STATEMENT_NAME} is signed: {one}; and {SUMS_NAME} beside it: {other}; nobody "
            "takes both",
            hint="pack it anew with one key",
        )


def _check_statement(archive: Path, path: Path, wanted: BootStatement) -> None:
    """Raises InputError where a node would be told something else than what it would be given."""
    found = read_regular(path, limit=_MAX_STATEMENT, follow=False).decode("ascii", "replace").split("\n")
    fault = wanted.find_fault()
    expected = [] if fault else wanted.render().decode("ascii").split("\n")
    if found == expected:
        return
    pairs = itertools.zip_longest(found, expected, fillvalue="")
    stated, true = next((stated, true) for stated, true in pairs if stated != true)
    raise InputError(
        f"{archive}: its {STATEMENT_NAME} is of another release: it says {cut(repr(stated))}, and "
        f"{cut(fault or repr(true))} is so here",
        hint="nodes that check signatures would refuse it: pack it anew, by its own tag and time",
    )


def _find_architecture(system: System) -> KernelArchitecture:
    """As ``ectools netboot pack`` has called it."""
    return system.architecture or find_named_architecture(system.name) or KernelArchitecture.X86_64


def _read_roots(directory: Path) -> list[str]:
    path = directory / CACHE_NAME / ROOTS_NAME
    return path.read_text("ascii", "replace").split("\n") if path.is_file() else []
