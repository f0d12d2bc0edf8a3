"""What CONTRIBUTING promises of the house: packages name their modules, and a public name has one meaning."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = sorted(
    path.parent for name in ("ectools", "pynix_eval_shim") for path in (ROOT / name).rglob("__init__.py")
)
_NAMED = re.compile(r"``([a-z_0-9]+)``")

SAME_BY_DESIGN = {
    "COMMAND": "each command group's click command, by which the main group finds it",
    "main": "the entry point of a console script",
    "write_pages": "each format of the reference",
    "sign": "each format of signatures",
    "verify": "each format of signatures",
    "find_public": "each format of signatures",
}


def show(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("package", PACKAGES, ids=show)
def test_a_package_names_each_of_its_modules_and_no_other(package: Path) -> None:
    docstring = ast.get_docstring(ast.parse((package / "__init__.py").read_text())) or ""
    there = {path.stem for path in package.glob("*.py")} - {"__init__"}
    there |= {path.parent.name for path in package.glob("*/__init__.py")}
    assert set(_NAMED.findall(docstring)) == there


def test_the_map_names_each_room() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    rows = re.findall(r"(?m)^\| (`[^|]*) \|", text.partition("| room |")[2].partition("\n\n")[0])
    named = {room for row in rows for room in re.findall(r"`([a-z_/]+)`", row)}
    inside = {"netboot/protocols"} | {
        f"netboot/{path.parent.name}" for path in ROOT.glob("ectools/netboot/*/__init__.py")
    }
    rooms = {path.parent.name for path in ROOT.glob("ectools/*/__init__.py")} - {"netboot"}
    assert named == rooms | inside | {"schemas", "parsing"}


def find_public_names(path: Path) -> set[str]:
    """What a module defines at its top for others; a second name of the same thing is none."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        match node:
            case ast.FunctionDef(decorator_list=[_, *_]) if "cli" in path.parts:
                pass  # a click command, called by what people type
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names.add(node.name)
            case ast.Assign(targets=[ast.Name() as target]) | ast.AnnAssign(target=ast.Name() as target):
                names.add(target.id)
    return {name for name in names if not name.startswith("_")}


def test_a_public_name_has_one_meaning() -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for package in PACKAGES:
        for path in sorted(package.glob("*.py")):
            for name in find_public_names(path):
                homes[name].append(show(path))
    twice = {name: paths for name, paths in homes.items() if len(paths) > 1 and name not in SAME_BY_DESIGN}
    assert twice == {}


def test_each_test_file_has_a_name_of_its_own() -> None:
    """Of two with one name pytest collects one, and says so in a line that is easily overlooked."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
