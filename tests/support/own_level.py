"""The modules that no test of their own level imports: ``python -m support.own_level`` prints them.

``tests/unit`` is the level of ``ectools``, ``tests/shim`` that of ``pynix_eval_shim``. What counts is a line
``import`` or ``from … import`` in a file ``test_*.py``: a module that is only reached through another one has
no test that names what it is for.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent.parent
LEVELS = {"ectools": "tests/unit", "pynix_eval_shim": "tests/shim"}
"""Package → directory of its tests."""

MOST_LINES = 30
"""A module of at most so many lines needs no test that names it."""


def find_unimported(root: Path = ROOT) -> list[str]:
    """Dotted names, sorted, of the modules longer than MOST_LINES that no test of their level imports."""
    return sorted(
        name
        for package, level in LEVELS.items()
        for imported in [_find_imported(root / level)]
        for name, path in _find_modules(root, package)
        if len(path.read_text().splitlines()) > MOST_LINES and name not in imported
    )


def _find_modules(root: Path, package: str) -> Iterator[tuple[str, Path]]:
    """Dotted name and file; of the ``__init__`` of packages only those that define something."""
    for path in (root / package).rglob("*.py"):
        parts = path.relative_to(root).with_suffix("").parts
        if parts[-1] == "__init__":
            if not any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in _parse(path).body):
                continue
            parts = parts[:-1]
        yield ".".join(parts), path


def _find_imported(directory: Path) -> set[str]:
    """What may be a module in the imports of these tests; ``from a import b`` is ``a`` and ``a.b``."""
    names = set()
    for path in directory.rglob("test_*.py"):
        for node in ast.walk(_parse(path)):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), path)


def main() -> None:
    """Print the table that ``./dev test --coverage`` ends with."""
    modules = find_unimported()
    print(f"\nNo test of its own level imports ({len(modules)} modules of more than {MOST_LINES} lines):")
    for name in modules:
        print(f"  {name}")


if __name__ == "__main__":
    main()
