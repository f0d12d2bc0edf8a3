"""Committed schemas against the modules that they were exported from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ectools.files import parse_json
from ectools.options.drift import Change, compare

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ectools.options.export import Export


@dataclass(frozen=True)
class Stale:
    """A committed schema file that is not what it should be: ``reason``, and the changes by meaning."""

    path: Path
    reason: str
    changes: tuple[Change, ...] = ()

    def render(self) -> str:
        lines = [f"{self.path}: {self.reason}", *(f"  {change.render()}" for change in self.changes)]
        return "\n".join(lines)


def check_schemas(exports: list[Export], directory: Path, *, known: list[str]) -> list[Stale]:
    """What in ``directory`` differs from ``exports``. ``known`` are the names that may have a file there."""
    stale = [found for export in exports if (found := _check_one(export, directory)) is not None]
    for path in sorted(directory.glob("*.schema.json")):
        if path.name.removesuffix(".schema.json") not in known:
            stale.append(Stale(path, "no module has these options any more"))
    return stale


def check_files(files: Mapping[str, bytes], directory: Path) -> list[Stale]:
    """Which of ``files`` (name → content), which are made of all schemas, are not so in ``directory``."""
    stale = []
    for name, content in files.items():
        path = directory / name
        if not path.is_file():
            stale.append(Stale(path, "is missing"))
        elif path.read_bytes() != content:
            stale.append(Stale(path, "differs from the modules"))
    return stale


def _check_one(export: Export, directory: Path) -> Stale | None:
    path = directory / f"{export.name}.schema.json"
    if not path.is_file():
        return Stale(path, "is missing")
    committed = path.read_bytes()
    if committed == export.render():
        return None
    document = parse_json(committed, where=str(path))
    changes = tuple(compare(document, export.document))
    return Stale(path, "differs from the module", changes or (_layout(path),))


def _layout(path: Path) -> Change:
    from ectools.options.drift import ChangeKind

    return Change(kind=ChangeKind.DOCS, option=path.name, message="only the layout of the file differs")
