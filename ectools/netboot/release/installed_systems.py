"""The installed systems that a release has in its binary caches: which of them a node is given."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ectools.errors import EcError, show_list
from ectools.files import FileError, read_regular
from ectools.netboot.release.binary_cache import CACHE_NAME, ROOTS_NAME

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ectools.netboot.release.manifest import Release, System

_MAX_ROOTS_BYTES = 64 << 10
_ROOT = re.compile(r"/nix/store/[0-9a-z]{32}-([0-9A-Za-z+._?=-]{1,211})", re.ASCII)
_SYSTEM_PREFIX = "nixos-system-"


class NoInstalledSystemError(EcError):
    """A release has not the one system that a node is to install."""


def find_cache(release: Release, system: System) -> str | None:
    """The binary cache beside a release's system, as a path below the release; None where it has none."""
    cache = CACHE_NAME if len(release.systems) == 1 else f"{system.name}/{CACHE_NAME}"
    return cache if f"{cache}/{ROOTS_NAME}" in release.files else None


def read_roots(directory: Path, cache: str) -> list[str]:
    """The store paths of the systems in a cache of the release in ``directory``. Raises FileError."""
    text = read_regular(directory / cache / ROOTS_NAME, limit=_MAX_ROOTS_BYTES).decode("ascii", "replace")
    return [line for line in text.split("\n") if _ROOT.fullmatch(line)]


def choose_root(roots: Sequence[str], wanted: str | None, *, title: str) -> str:
    """The one of ``roots`` that is ``wanted``: a store path, its name, or the name of its configuration.

    ``wanted`` None: the only one. ``title`` is the release's. Raises NoInstalledSystemError.
    """
    found = [root for root in roots if wanted is None or _is_called(root, wanted)]
    if len(found) == 1:
        return found[0]
    known = f"it has {show_list(roots)}" if roots else "pack it with --with-system"
    if found:
        raise NoInstalledSystemError(f"{title} has {len(found)} systems to install", hint=known)
    raise NoInstalledSystemError(f"{title} has no system {wanted or 'to install'}", hint=known)


def find_root(directory: Path, release: Release, system: System, wanted: str | None) -> str:
    """The store path of what is installed where ``system`` of a release is booted to install ``wanted``.

    ``directory`` is the release's. It reads a file. Raises NoInstalledSystemError.
    """
    cache = find_cache(release, system)
    try:
        roots = [] if cache is None else read_roots(directory, cache)
    except FileError as error:
        raise NoInstalledSystemError(f"{release.title}: {error.message}") from error
    return choose_root(roots, wanted, title=release.title)


def find_update(directory: Path, release: Release, system: str, wanted: str | None) -> tuple[str, str]:
    """The store path of what a node on a disk is to run of a release; and its cache, below the release.

    ``system`` is the name of the release's system that the node was installed by. ``directory`` is the
    release's. It reads files. Raises NoInstalledSystemError.
    """
    cached = {
        each.name: cache for each in release.systems if (cache := find_cache(release, each)) is not None
    }
    chosen = {system: cached[system]} if system in cached else cached
    if len(chosen) > 1:
        known = show_list(sorted(chosen))
        raise NoInstalledSystemError(f"{release.title} has systems for {known}, and none for {system!r}")
    roots: list[str] = []
    for cache in chosen.values():
        try:
            roots = read_roots(directory, cache)
        except FileError as error:
            raise NoInstalledSystemError(f"{release.title}: {error.message}") from error
    root = choose_root(roots, wanted, title=release.title)
    return root, next(iter(chosen.values()))


def _is_called(root: str, wanted: str) -> bool:
    match = _ROOT.fullmatch(root)
    name = "" if match is None else match[1]
    # nixos-system-<system.name>-<version>: a version begins with a digit, and a name may have hyphens.
    version = name.removeprefix(f"{_SYSTEM_PREFIX}{wanted}-")
    return wanted in (root, name) or (version != name and version[:1].isdigit())
