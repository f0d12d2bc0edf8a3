"""Whether a system is the one that its flake describes: built again, and compared by store path.

A store path is named by a hash of all that went into it. So the same paths mean the same inputs; that a
path's content is what was built, ``find_damaged`` checks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ectools.checks.evaluation import FailedEvaluationError
from ectools.errors import InputError
from ectools.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

STORE_PATH_PATTERN = re.compile(r"/nix/store/[0-9abcdfghijklmnpqrsvwxyz]{32}-[0-9A-Za-z+._?=-]+")


class ClosureSource(StrEnum):
    """Where a closure comes from."""

    REBUILT = "rebuilt"
    RUNNING = "running"
    PUBLISHED = "published"


@dataclass(frozen=True, kw_only=True)
class Closure:
    """A system's store paths. ``source`` is the flake, the link or the file that they were found by.

    ``toplevel`` is the system's own path, None where a listing does not tell it. ``paths`` is None where
    nothing but ``toplevel`` is known.
    """

    origin: ClosureSource
    source: str
    toplevel: str | None
    paths: frozenset[str] | None


@dataclass(frozen=True, kw_only=True)
class Changed:
    """What both systems have under one name, and not with one hash. The paths are sorted."""

    name: str
    rebuilt: tuple[str, ...]
    other: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """``other`` against ``rebuilt``: ``added`` is in the other alone, ``removed`` in the rebuilt alone.

    All three lists of differences are sorted, and empty where one side's paths are not known.
    """

    rebuilt: Closure
    other: Closure
    same: bool
    changed: tuple[Changed, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]

    def show_json(self) -> dict[str, Any]:
        """``same``; ``rebuilt``, ``other`` (origin, source, toplevel, number of paths); the differences."""
        return {
            "same": self.same,
            "rebuilt": _show_side(self.rebuilt),
            "other": _show_side(self.other),
            "changed": [
                {"name": each.name, "rebuilt": list(each.rebuilt), "other": list(each.other)}
                for each in self.changed
            ],
            "added": list(self.added),
            "removed": list(self.removed),
        }


def _show_side(closure: Closure) -> dict[str, Any]:
    return {
        "origin": closure.origin,
        "source": closure.source,
        "toplevel": closure.toplevel,
        "paths": None if closure.paths is None else len(closure.paths),
    }


def compare_closures(rebuilt: Closure, other: Closure) -> Comparison:
    """What differs, by store path."""
    added, removed = frozenset[str](), frozenset[str]()
    if rebuilt.paths is not None and other.paths is not None:
        added, removed = other.paths - rebuilt.paths, rebuilt.paths - other.paths
    changed = _pair(removed, added)
    paired = {path for each in changed for path in (*each.rebuilt, *each.other)}
    return Comparison(
        rebuilt=rebuilt,
        other=other,
        same=not added and not removed and other.toplevel in (rebuilt.toplevel, None),
        changed=changed,
        added=tuple(sorted(added - paired)),
        removed=tuple(sorted(removed - paired)),
    )


def _pair(rebuilt: Iterable[str], other: Iterable[str]) -> tuple[Changed, ...]:
    left, right = _group(rebuilt), _group(other)
    return tuple(
        Changed(name=name, rebuilt=left[name], other=right[name])
        for name in sorted(left.keys() & right.keys())
    )


def _group(paths: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Paths by the name behind their hash."""
    groups: dict[str, tuple[str, ...]] = {}
    for path in sorted(paths):
        name = path.rsplit("/", 1)[-1].partition("-")[2]
        groups[name] = (*groups.get(name, ()), path)
    return groups


def rebuild_closure(flake: str, name: str, *, override_inputs: Mapping[str, str] | None = None) -> Closure:
    """Build the nixosConfiguration ``name`` of a flake: a directory, or any reference.

    Raises InputError where the flake has none of that name, FailedEvaluationError where Nix fails.
    """
    from pynix_eval_shim import NixError, build, evaluate, requisites

    reference = build_flake_reference(flake)
    inputs = dict(override_inputs or {}) or None
    try:
        names = evaluate(
            installable=f"{reference}#nixosConfigurations",
            apply="builtins.attrNames",
            override_inputs=inputs,
        )
        if name not in names:
            raise InputError(
                f"{name}: {flake} has no such nixosConfiguration",
                hint=did_you_mean(name, names, otherwise=f"it has {', '.join(names) or 'none'}"),
            )
        (built,) = build(
            installable=f'{reference}#nixosConfigurations."{name}".config.system.build.toplevel',
            override_inputs=inputs,
        )
        toplevel = built.outputs["out"]
        paths = frozenset(requisites(toplevel))
    except NixError as error:
        raise FailedEvaluationError(error) from error
    return Closure(origin=ClosureSource.REBUILT, source=f"{flake}#{name}", toplevel=toplevel, paths=paths)


def build_flake_reference(flake: str) -> str:
    """How nix is told of a flake. A directory is named by where its links lead: nix takes no link for one."""
    directory = Path(flake)
    if not directory.is_dir():
        return flake
    resolved = directory.resolve()
    # A checkout's own files only, and not what lies beside them.
    return str(resolved) if (resolved / ".git").exists() else f"path:{resolved}"


def read_running(system: Path) -> Closure:
    """The closure of a system on this machine, such as /run/current-system. Raises InputError and others."""
    toplevel = str(system.resolve())
    if not STORE_PATH_PATTERN.fullmatch(toplevel):
        raise InputError(f"{system}: leads to {toplevel}, which is no system in the Nix store")
    return Closure(
        origin=ClosureSource.RUNNING, source=str(system), toplevel=toplevel, paths=read_requisites(toplevel)
    )


def read_requisites(toplevel: str) -> frozenset[str]:
    """The closure of a path that is in this machine's store. Raises FailedEvaluationError where it is not."""
    from pynix_eval_shim import NixError, requisites

    try:
        return frozenset(requisites(toplevel))
    except NixError as error:
        raise FailedEvaluationError(error) from error


def read_hashes(closure: Closure) -> dict[str, str]:
    """Each path of a closure in this machine's store → the hash of its content (NAR), as the store has it."""
    from pynix_eval_shim import NixError, path_hashes

    try:
        return path_hashes(sorted(closure.paths or ()))
    except NixError as error:
        raise FailedEvaluationError(error) from error


def find_damaged(closure: Closure) -> tuple[str, ...]:
    """Paths of a closure in this machine's store whose content is not what the store's database says."""
    from pynix_eval_shim import NixError, find_modified

    try:
        return find_modified(sorted(closure.paths or ()))
    except NixError as error:
        raise FailedEvaluationError(error) from error
