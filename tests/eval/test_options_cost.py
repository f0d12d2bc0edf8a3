"""What a dump of options asks of Nix, beside ``lib.optionAttrSetToDocList``: calls, which have no noise."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.nix

HERE = Path(__file__).parent
LIBRARY = HERE.parent.parent / "nix" / "lib"
OPTIONS = f"(import {HERE}/many_options.nix)"
MOST = 1.4
"""Measured: 1.25; 1.67 with the bounds of each integer type tried anew, three questions for each check."""


def count_calls(expression: str, *, nixpkgs: Path, statistics: Path) -> int:
    """The functions that Nix calls for the JSON of an expression (NIX_SHOW_STATS, in Nix's EvalState)."""
    environment = {
        **os.environ,
        "NIX_PATH": f"nixpkgs={nixpkgs}",
        "NIX_SHOW_STATS": "1",
        "NIX_SHOW_STATS_PATH": str(statistics),
    }
    argv = ["nix-instantiate", "--eval", "--strict", "--json", "--store", "dummy://", "--expr", expression]
    subprocess.run(argv, env=environment, check=True, capture_output=True, timeout=120)
    return int(json.loads(statistics.read_text())["nrFunctionCalls"])


def test_a_dump_asks_little_more_of_nix_than_its_own_list(nixpkgs: Path, tmp_path: Path) -> None:
    dump = (
        f"let library = import {LIBRARY} {{ lib = import <nixpkgs/lib>; }}; in "
        f'builtins.toJSON (library.treeDump {{ name = "x"; roots = [ ]; context = "c"; set = {OPTIONS}; }})'
    )
    listed = f"(import <nixpkgs/lib>).optionAttrSetToDocList {OPTIONS}"
    ours, theirs = (
        count_calls(expression, nixpkgs=nixpkgs, statistics=tmp_path / "statistics.json")
        for expression in (dump, listed)
    )
    assert ours / theirs <= MOST
