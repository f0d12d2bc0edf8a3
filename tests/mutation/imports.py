"""Which test file imports which module, read from the sources.

grimp, which import-linter uses, knows packages that can be imported; tests are none.
"""

from __future__ import annotations

import ast
import functools
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_ROOTS = ("", "tests/")
"""Where modules are looked for: the checkout, and ``tests`` for ``support``."""


class Imports:
    """The imports between the Python files of a tree; all paths are relative to it, with slashes."""

    def __init__(self, root: Path, files: Iterable[str]) -> None:
        self._files = {name for name in files if name.endswith(".py")}
        self._direct = {name: set(self._read(root, name)) for name in self._files}
        self._importers: dict[str, set[str]] = defaultdict(set)
        for name, imported in self._direct.items():
            for other in imported:
                self._importers[other].add(name)

    def direct(self, path: str, tests: str) -> set[str]:
        """The test files below a directory that name a module in an import."""
        return {name for name in self._importers[path] if _is_test(name, tests)}

    @functools.cache  # noqa: B019  (one object a run)
    def all(self, path: str, tests: str) -> set[str]:
        """The test files below a directory that import a module, through others and conftest files too."""
        found, todo = {path}, [path]
        while todo:
            for name in self._importers[todo.pop()] - found:
                found.add(name)
                todo.append(name)
        directories = {name.rpartition("/")[0] for name in found if name.endswith("/conftest.py")}
        below = {
            name for name in self._files if any(name.startswith(f"{directory}/") for directory in directories)
        }
        return {name for name in found | below if _is_test(name, tests)}

    def _read(self, root: Path, name: str) -> Iterator[str]:
        for node in ast.walk(ast.parse((root / name).read_bytes())):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield from self._resolve(alias.name)
            elif isinstance(node, ast.ImportFrom):
                base = _absolute(name, node)
                for alias in node.names:
                    yield from self._resolve(f"{base}.{alias.name}")

    def _resolve(self, dotted: str) -> Iterator[str]:
        """The file of a module, of the one that has a name, and those of its packages."""
        parts = dotted.split(".")
        for length in range(1, len(parts) + 1):
            stem = "/".join(parts[:length])
            for root in _ROOTS:
                yield from {f"{root}{stem}.py", f"{root}{stem}/__init__.py"} & self._files


def _absolute(name: str, node: ast.ImportFrom) -> str:
    if node.level == 0:
        return node.module or ""
    directory = name.removeprefix("tests/").split("/")[: -node.level]
    return ".".join([*directory, *([node.module] if node.module else [])])


def _is_test(name: str, tests: str) -> bool:
    return name.startswith(f"{tests}/") and name.rpartition("/")[2].startswith("test_")
