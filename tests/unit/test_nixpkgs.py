"""Which nixpkgs tree is meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ectools.errors import InputError
from ectools.nixpkgs import find_nixpkgs

if TYPE_CHECKING:
    from pathlib import Path


def make_tree(directory: Path) -> Path:
    (directory / "lib").mkdir(parents=True)
    (directory / "lib" / "default.nix").touch()
    return directory


def test_what_is_given_comes_before_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, named = make_tree(tmp_path / "given"), make_tree(tmp_path / "named")
    monkeypatch.setenv("NIXPKGS", str(named))
    assert find_nixpkgs(str(given)) == given
    assert find_nixpkgs(None) == named
    assert find_nixpkgs("") == named
    for nothing in ("", None):
        if nothing is None:
            monkeypatch.delenv("NIXPKGS")
        else:
            monkeypatch.setenv("NIXPKGS", nothing)
        assert find_nixpkgs(None) is None


def test_it_is_absolute_and_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = make_tree(tmp_path / "tree")
    (tmp_path / "link").symlink_to(tree)
    monkeypatch.chdir(tmp_path)
    assert find_nixpkgs("link") == tree


def test_another_directory_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lib" / "default.nix").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"^\.: not a nixpkgs tree: it has no lib/default\.nix"):
        find_nixpkgs(".")
