"""The package whose programs the units start: what it is made of, which decides what an update restarts."""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

pytestmark = pytest.mark.nix

ROOT = Path(__file__).parents[2]


def test_the_package_builds_without_the_readme() -> None:
    assert "readme" not in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_a_changed_sentence_of_the_readme_restarts_nothing(
    nixpkgs: Path, nix_env: Mapping[str, str], tmp_path: Path
) -> None:
    """Units name the package by its path in the store, so that another package restarts them."""
    tree = tmp_path / "tree"
    for name in ("docs/man", "ectools", "nix", "pynix_eval_shim", "schemas"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("LICENSE", "README.md", "pyproject.toml"):
        shutil.copyfile(ROOT / name, tree / name)

    def find_package() -> str:
        expression = f"""
          let packages = (builtins.getFlake "path:{nixpkgs}").legacyPackages.x86_64-linux; in
          (packages.callPackage {tree}/nix/package.nix {{ }}).drvPath
        """
        argv = ["nix-instantiate", "--eval", "--json", "--read-write-mode", "--expr", expression]
        done = subprocess.run(argv, env=dict(nix_env), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return str(json.loads(done.stdout))

    before = find_package()
    for name in ("README.md", "nix/checks.nix"):
        (tree / name).write_text((tree / name).read_text() + "\n# another sentence\n")
    assert find_package() == before
    (tree / "ectools/names.py").write_text("# another program\n")
    assert find_package() != before
