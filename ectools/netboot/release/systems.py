"""The systems of releases: what an archive's name says of its own, and which of several a machine gets."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from ectools.files import FileError, open_regular
from ectools.ipxe.language import is_file_name
from ectools.netboot.kernel import (
    HEAD_BYTES,
    KERNELS_BY_BUILD,
    KernelArchitecture,
    find_kernel_architecture,
)
from ectools.netboot.protocols import find_build

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from ectools.netboot.protocols import Binary
    from ectools.netboot.release.manifest import System

_MAX_NAME = 255
_SUFFIX = re.compile(r"\.(?:tgz|txz|tzst|tar(?:\.(?:gz|xz|zst))?)$")
_NETBOOT = re.compile(r"(.*?-netboot)(?:-.*)?", re.DOTALL)


def find_system_name(archive: str, tag: str | None) -> str:
    """The system of an archive, by the archive's name: ``ec-runner-x86_64-netboot-boot-v2026.03.02.tar.gz``
    is of ``ec-runner-x86_64-netboot``.

    An archive with another kind of name is called as it is, without its suffix and without its tag.
    """
    stem = strip_suffix(archive)
    matched = _NETBOOT.fullmatch(stem)
    if matched is not None:
        return matched[1]
    return stem if tag is None else stem.removesuffix(f"-{tag}")


def find_foreign_tag(archive: str, tag: str) -> str | None:
    """The tag that an archive's name says where that is another than ``tag``; None: this one, or none.

    A tag with slashes stands in a name with dashes, or by its last part.
    """
    stem = strip_suffix(archive)
    named = stem.removeprefix(find_system_name(archive, tag)).removeprefix("-")
    own = {"", tag, tag.replace("/", "-"), tag.rpartition("/")[2]}
    return None if named in own else named


def strip_suffix(archive: str) -> str:
    """An archive's name without ``.tar.gz`` and the like."""
    return _SUFFIX.sub("", archive)


def is_archive_name(name: str) -> bool:
    """Whether a file's name is an archive's, and not that of its checksum or signature."""
    return _SUFFIX.search(name) is not None


def is_system_name(name: str) -> bool:
    """Whether a directory of a release can have the name: it stands in URLs and scripts."""
    return "/" not in name and len(name) <= _MAX_NAME and is_file_name(name)


def choose_system(systems: Sequence[System], build: str, preferred: Sequence[str] = ()) -> System | None:
    """The system for a machine whose iPXE is a ``build`` of KERNELS_BY_BUILD; None: there is none for it.

    Of several, the first that is named in ``preferred``, then the first by name. A system whose architecture
    is not known is everybody's where it is the only one.
    """
    if len(systems) == 1 and systems[0].architecture is None:
        return systems[0]
    ranks = {name: rank for rank, name in enumerate(preferred)}
    ordered = sorted(systems, key=lambda each: (ranks.get(each.name, len(ranks)), each.name))
    return next(
        (
            each
            for architecture in KERNELS_BY_BUILD.get(build, ())
            for each in ordered
            if each.architecture is architecture
        ),
        None,
    )


def has_successor(systems: Sequence[System], wanted: str | None, runs: System | None) -> bool:
    """Whether a machine that runs ``runs`` (None: nobody knows what) would find its system among these.

    ``wanted``: the name of that, where the fleet says one.
    """
    if wanted is not None:
        return any(each.name == wanted for each in systems)
    if runs is None or runs.architecture is None:
        return True
    return any(each.architecture in (None, runs.architecture) for each in systems)


def find_unserved(systems: Sequence[System], binaries: Iterable[Binary]) -> list[Binary]:
    """Which of these boot binaries let in machines that there is no system for."""
    return [binary for binary in binaries if choose_system(systems, find_build(binary)) is None]


def read_kernel_architecture(kernel: Path) -> KernelArchitecture | None:
    """What a file's kernel runs on; None where that cannot be told, or the file cannot be read."""
    try:
        with os.fdopen(open_regular(kernel), "rb", buffering=0) as file:
            return find_kernel_architecture(file.read(HEAD_BYTES))
    except (FileError, OSError):
        return None
