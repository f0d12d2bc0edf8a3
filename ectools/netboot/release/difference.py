"""Two staged releases → which packages and which bytes change from the one to the other.

Packages are known where a release has installed systems' closures (``binary_cache``): by the store paths of
its ``.narinfo`` files. Of all others, the files say what changes.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ectools.archive.names import MANIFEST_NAME
from ectools.files import read_regular
from ectools.netboot.release.binary_cache import CACHE_NAME

if TYPE_CHECKING:
    from ectools.netboot.release.manifest import Release
    from ectools.netboot.release.store import ReleaseStore

_NARINFO = re.compile(rf"(?:.+/)?{CACHE_NAME}/[^/]+\.narinfo")
_IN_CACHE = re.compile(rf"(?:.+/)?{CACHE_NAME}/.+")
_MAX_NARINFO = 1 << 20
_STORE_PATH = re.compile(r"^StorePath: /nix/store/[0-9a-z]{32}-(\S+)$", re.MULTILINE | re.ASCII)
_NAR_SIZE = re.compile(r"^NarSize: ([0-9]{1,18})$", re.MULTILINE | re.ASCII)
# A name ends before the first dash that no letter follows (Nix, src/libstore/names.cc).
_VERSION = re.compile(r"(.*?)(?:-([^A-Za-z].*))?", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class PackageChange:
    """A package whose versions, or whose builds, differ. ``grows`` is in bytes, of what is unpacked.

    ``before`` and ``after`` are sorted; a store path without a version has the version "".
    """

    name: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    grows: int


@dataclass(frozen=True, kw_only=True)
class FileChange:
    """A file that is another one. Sizes are in bytes; None: before it is new, after it is gone."""

    name: str
    before: int | None
    after: int | None


@dataclass(frozen=True, kw_only=True)
class ReleaseDifference:
    """``packages`` None: one of the two says nothing of them. ``files`` are those that no package is.

    ``new_bytes``: of the second release's, those whose content the first one does not have.
    """

    packages: tuple[PackageChange, ...] | None
    files: tuple[FileChange, ...]
    new_bytes: int


def find_difference(store: ReleaseStore, old: Release, new: Release) -> ReleaseDifference:
    """What changes from ``old`` to ``new``, both staged. Raises FileError where one is damaged."""
    before, after = (_read_packages(store, release) for release in (old, new))
    known = {record.sha256 for record in old.files.values()}
    contents = {record.sha256: record.size for record in new.files.values()}
    return ReleaseDifference(
        packages=None if before is None or after is None else tuple(_compare(before, after)),
        files=tuple(_compare_files(old, new)),
        new_bytes=sum(size for sha256, size in contents.items() if sha256 not in known),
    )


def describe_difference(found: ReleaseDifference) -> dict[str, Any]:
    """The difference as JSON."""
    packages = None
    if found.packages is not None:
        packages = [
            {**vars(each), "before": list(each.before), "after": list(each.after)} for each in found.packages
        ]
    return {"packages": packages, "files": [vars(each) for each in found.files], "new_bytes": found.new_bytes}


def _read_packages(store: ReleaseStore, release: Release) -> dict[str, int] | None:
    """The store paths of a release's closures, without their directory → bytes; None where it has none."""
    names = [name for name in release.files if _NARINFO.fullmatch(name)]
    found: dict[str, int] = {}
    for name in names:
        path = store.directory(release.id) / name
        text = read_regular(path, limit=_MAX_NARINFO, follow=False).decode("utf-8", "replace")
        matched, size = _STORE_PATH.search(text), _NAR_SIZE.search(text)
        if matched is not None:
            # With its hash: another build of the same version is a change too.
            found[matched[0].rpartition("/")[2]] = int(size[1]) if size is not None else 0
    return found if names else None


def _compare(before: dict[str, int], after: dict[str, int]) -> list[PackageChange]:
    changed: dict[str, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    grows: dict[str, int] = defaultdict(int)
    for side, paths, other, sign in ((0, before, after, -1), (1, after, before, 1)):
        for path, size in paths.items():
            if path in other:
                continue
            name, version = _split(path)
            changed[name][side].append(version)
            grows[name] += sign * size
    return [
        PackageChange(
            name=name,
            before=tuple(sorted(set(changed[name][0]))),
            after=tuple(sorted(set(changed[name][1]))),
            grows=grows[name],
        )
        for name in sorted(changed)
    ]


def _split(path: str) -> tuple[str, str]:
    """Name and version of ``HASH-NAME-VERSION``."""
    matched = _VERSION.fullmatch(path.partition("-")[2])
    return ("", "") if matched is None else (matched[1], matched[2] or "")


def _compare_files(old: Release, new: Release) -> list[FileChange]:
    """The files by their names, but the caches' and the record."""
    changed = []
    for name in sorted({*old.files, *new.files}):
        before, after = old.files.get(name), new.files.get(name)
        if before == after or _IN_CACHE.fullmatch(name) or name == MANIFEST_NAME:
            continue
        changed.append(
            FileChange(
                name=name,
                before=None if before is None else before.size,
                after=None if after is None else after.size,
            )
        )
    return changed
