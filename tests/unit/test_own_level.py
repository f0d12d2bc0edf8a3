"""Which module has a test of its own level that imports it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.own_level import MOST_LINES, find_unimported

LONG = "x = 1\n" * (MOST_LINES + 1)


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("import ectools.a.b", []),
        ("from ectools.a.b import x", []),
        ("from ectools.a import b", []),
        ("def test() -> None:\n    from ectools.a import b", []),
        ("import ectools.a", ["ectools.a.b"]),
        ("from ectools import a", ["ectools.a.b"]),
        ("SOURCE = 'import ectools.a.b'", ["ectools.a.b"]),
    ],
)
def test_a_line_that_imports_the_module_counts(tmp_path: Path, line: str, left: list[str]) -> None:
    write(tmp_path / "ectools/a/b.py", LONG)
    write(tmp_path / "tests/unit/a/test_b.py", line)
    assert find_unimported(tmp_path) == left


def test_only_the_own_level_counts(tmp_path: Path) -> None:
    write(tmp_path / "pynix_eval_shim/a.py", LONG)
    write(tmp_path / "tests/unit/test_a.py", "import pynix_eval_shim.a")
    assert find_unimported(tmp_path) == ["pynix_eval_shim.a"]
    write(tmp_path / "tests/shim/helper.py", "import pynix_eval_shim.a")
    assert find_unimported(tmp_path) == ["pynix_eval_shim.a"]
    write(tmp_path / "tests/shim/test_a.py", "import pynix_eval_shim.a")
    assert find_unimported(tmp_path) == []


def test_short_modules_and_packages_without_code_need_none(tmp_path: Path) -> None:
    write(tmp_path / "ectools/short.py", "x = 1\n" * MOST_LINES)
    write(tmp_path / "ectools/a/__init__.py", LONG)
    write(tmp_path / "ectools/b/__init__.py", LONG + "def f() -> None: ...\n")
    assert find_unimported(tmp_path) == ["ectools.b"]


def test_each_module_is_imported_by_a_test_of_its_own_level() -> None:
    assert find_unimported() == []


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
