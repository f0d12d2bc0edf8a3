"""The layout is nixfmt's: against nixfmt itself where one is installed, and against its own test data.

Neither is part of this repository, and each test says in one line when it could not run. ``NIXFMT_TESTDATA``
names the directory ``test`` of a checkout of https://github.com/NixOS/nixfmt.
"""

from __future__ import annotations

import difflib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from support import nix_values
from support.samples import collect

from ectools.nixlang import documents, nodes, printing, render, render_file


@pytest.fixture(scope="module")
def nixfmt() -> str:
    """A nixfmt that knows RFC 166's strict mode (1.0 and later)."""
    found = shutil.which("nixfmt")
    if found is None:
        pytest.skip("NO NIXFMT HERE: the layout was not compared with it; put nixfmt 1.0 or later on PATH")
    done = subprocess.run([found, "--strict", "-"], input="{}", capture_output=True, text=True, check=False)
    if done.stdout != "{ }\n":
        pytest.skip("THE NIXFMT HERE IS TOO OLD: it has no strict mode; put nixfmt 1.0 or later on PATH")
    return found


@pytest.mark.parametrize(
    ("strategy", "count"),
    [(nix_values.data, 1500), (nix_values.expressions, 1500)],
    ids=["data", "expressions"],
)
def test_nixfmt_changes_nothing(
    strategy: st.SearchStrategy[Any], count: int, nixfmt: str, tmp_path: Path
) -> None:
    texts = {
        tmp_path / f"{number}.nix": render_file(value)
        for number, value in enumerate(collect(strategy, count))
    }
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8", newline="")
    subprocess.run([nixfmt, "--strict", *map(str, texts)], check=True, capture_output=True)
    changed: list[tuple[str, str]] = []
    for path, ours in texts.items():
        with path.open(encoding="utf-8", newline="") as file:
            theirs = file.read()
        if theirs != ours:
            changed.append((ours, theirs))
    if changed:
        ours, theirs = min(changed, key=lambda pair: len(pair[0]))
        difference = difflib.unified_diff(ours.splitlines(True), theirs.splitlines(True), "ours", "nixfmt")
        pytest.fail(f"{len(changed)} of {len(texts)} differ, the shortest:\n{''.join(difference)}")


@pytest.fixture
def testdata() -> Path:
    """The test directory of a checkout of nixfmt."""
    given = os.environ.get("NIXFMT_TESTDATA")
    if given is None:
        pytest.skip(
            "NO NIXFMT TEST DATA HERE: set NIXFMT_TESTDATA to the directory test of a checkout of nixfmt"
        )
    return Path(given)


def test_nixfmt_s_own_expectations(testdata: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each binding and list item of them that nodes can say, rendered anew.

    They are for lines of 80 columns (its test.sh says so). Files about its directives hold text that is not
    formatted.
    """
    pytest.importorskip("tree_sitter_nix", reason="NO TREE-SITTER-NIX HERE: nixfmt's test data was not read")
    from support.nix_source import find_units

    for module in (documents, printing):
        monkeypatch.setattr(module, "WIDTH", 80)
    files = [*testdata.glob("correct/*.nix"), *testdata.glob("diff/*/out-pure.nix")]
    compared = 0
    for file in files:
        if "directive" in str(file.relative_to(testdata)):
            continue
        for expected, unit in find_units(file.read_text(encoding="utf-8")):
            ours = render_unit(unit)
            # Other parentheses or quotes than the renderer writes are another text, not another layout.
            if "".join(ours.split()) == "".join(expected.split()):
                assert ours == expected, file
                compared += 1
    assert compared > 1000


def render_unit(unit: Any) -> str:
    """A binding or a list's item as one of two, without the braces around them and without indentation."""
    if isinstance(unit, (nodes.Binding, nodes.Inherit)):
        text = render(nodes.AttrSet((unit, nodes.Binding(("the-second-one",), None))))
    else:
        text = render([unit, nodes.Var("the-second-one")])
    return "\n".join(line[2:] for line in text.split("\n")[1:-2])
