"""Changes between schemas for people, programs and test reports."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ectools import junit
from ectools.errors import InputError
from ectools.files import read_json
from ectools.options.drift import Change, ChangeKind, compare, worst

if TYPE_CHECKING:
    from pathlib import Path

    from ectools.names import JsonSchema

_STATUS = {None: 0, ChangeKind.DOCS: 3, ChangeKind.COMPATIBLE: 4, ChangeKind.BREAKING: 5}


def drift_exit_status(changes: list[Change]) -> int:
    """0 nothing, 3 docs only, 4 compatible, 5 breaking: apart from 1 (it failed) and 2 (bad usage)."""
    return _STATUS[worst(changes)]


def compare_paths(old: Path, new: Path) -> list[Change]:
    """The changes from one schema file to another, or between the ``*.schema.json`` of two directories.

    Raises InputError, FileError.
    """
    if old.is_dir() != new.is_dir():
        raise InputError(f"{old} and {new}: one is a directory, the other is not")
    if not old.is_dir():
        return compare(_read(old), _read(new))
    changes = []
    for name in sorted({path.name for directory in (old, new) for path in directory.glob("*.schema.json")}):
        before = _read(old / name) if (old / name).is_file() else None
        after = _read(new / name) if (new / name).is_file() else None
        if before is None or after is None:
            kind, message = (
                (ChangeKind.COMPATIBLE, "the module is new")
                if before is None
                else (ChangeKind.BREAKING, "the module is gone")
            )
            changes.append(Change(kind=kind, option=name.removesuffix(".schema.json"), message=message))
        else:
            changes += compare(before, after)
    return changes


def _read(path: Path) -> JsonSchema:
    document = read_json(path)
    if not isinstance(document, dict) or "properties" not in document:
        raise InputError(f"{path}: not a schema of options: it has no properties")
    return document


def write_drift_text(changes: list[Change]) -> str:
    """A line for each change, the worst kind first."""
    order = list(ChangeKind)
    ranked = sorted(changes, key=lambda change: -order.index(change.kind))
    return "\n".join(change.render() for change in ranked)


def write_drift_json(changes: list[Change]) -> str:
    """``{worst, changes: [{kind, option, message, old, new}]}``."""
    kind = worst(changes)
    document = {
        "worst": None if kind is None else kind.value,
        "changes": [
            {
                "kind": change.kind.value,
                "option": change.option,
                "message": change.message,
                "old": change.old,
                "new": change.new,
            }
            for change in changes
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def write_drift_junit(changes: list[Change]) -> str:
    """JUnit XML: a case for each change, failed where it is breaking."""
    cases = [
        junit.Case(
            group=change.kind.value,
            name=change.option,
            failure=change.message if change.kind is ChangeKind.BREAKING else None,
            output="" if change.kind is ChangeKind.BREAKING else change.message,
        )
        for change in changes
    ]
    nothing = junit.Case(group="schema", name="no change")
    return junit.write([junit.Suite(name="ectools schema diff", cases=cases or [nothing])])
