"""The layout is nixfmt's: against nixfmt itself where one is installed, and against its own test data.

Neither is part of this repository, and each test says in one line when it could not run. ``NIXFMT_TESTDATA``
names the folder ``test`` of a checkout of https://github.com/NixOS/nixfmt.
"""

from __future__ import annotations

import difflib
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from support import nix_values
from support.samples import collect

from ectools.nixlang import render_file


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
