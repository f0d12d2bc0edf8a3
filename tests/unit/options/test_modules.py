"""Modules by name: what is a file and what a flake, what a module is for, and what its schema is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from ectools.cli.module_options import CLASSES
from ectools.errors import InputError
from ectools.options.modules import ModuleClass, ModuleReference, parse_module


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files and directories with modules: ``m.nix``, ``set/default.nix``, ``own/flake.nix``, ``both``."""
    root = tmp_path / "project"
    for file in ("m.nix", "set/default.nix", "own/flake.nix", "both/flake.nix", "both/default.nix"):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


@pytest.mark.parametrize(
    ("text", "file", "name"),
    [
        ("m.nix", "m.nix", "m"),
        ("./set", "set", "set"),
        ("both", "both", "both"),
        ("set/default.nix", "set/default.nix", "set"),
    ],
)
def test_a_file(tree: Path, text: str, file: str, name: str) -> None:
    found = parse_module(text, directory=tree)
    assert found == ModuleReference(name=name, file=tree / file)
    assert parse_module(str(tree / file)) == found
    assert parse_module(text, module_class=ModuleClass.DARWIN, directory=tree).module_class == "darwin"


@pytest.mark.parametrize(
    ("text", "installable", "name", "module_class"),
    [
        (".#nixosModules.x", ".#nixosModules.x", "x", "nixos"),
        ("#homeModules.x", ".#homeModules.x", "x", "homeManager"),
        ("own", "own#nixosModules.default", "own", "nixos"),
        ("own#darwinModules.default", "own#darwinModules.default", "own", "darwin"),
        ("github:o/r#flakeModule", "github:o/r#flakeModule", "r", "flake"),
        ("github:o/r/v1?dir=x", "github:o/r/v1?dir=x#nixosModules.default", "r", "nixos"),
        (
            "git+https://h.example/o/r#modules.darwin.y",
            "git+https://h.example/o/r#modules.darwin.y",
            "y",
            "darwin",
        ),
        ("git+file:///o/r#homeManagerModule", "git+file:///o/r#homeManagerModule", "r", "homeManager"),
        ("nixpkgs:#lib.module", "nixpkgs:#lib.module", "nixpkgs", None),
        ('.#nixosModules."a b"', '.#nixosModules."a b"', "a-b", "nixos"),
        (".#modules.strange.y", ".#modules.strange.y", "y", None),
        ("path:own#hmModule", "path:own#hmModule", "own", "homeManager"),
    ],
)
def test_an_output_of_a_flake(
    tree: Path, text: str, installable: str, name: str, module_class: str | None
) -> None:
    found = parse_module(text, directory=tree)
    assert (found.installable, found.name, found.module_class) == (installable, name, module_class)
    assert found.file is None
    assert parse_module(text, module_class=ModuleClass.GENERIC, directory=tree).module_class == "generic"


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("modules/default.nix", "project"),
        ("nix-darwin/default.nix", "project"),
        ("modules/home-manager/options.nix", "project"),
        ("modules/a b.nix", "a-b"),
    ],
)
def test_a_schema_is_called_as_the_first_name_that_says_something(tree: Path, file: str, name: str) -> None:
    (tree / file).parent.mkdir(parents=True)
    (tree / file).touch()
    assert parse_module(file, directory=tree).name == name


@pytest.mark.parametrize("text", ["absent.nix", "set/absent", "."])
def test_no_such_module(tree: Path, text: str) -> None:
    with pytest.raises(InputError, match="no such module") as caught:
        parse_module(text, directory=tree)
    assert "nixosModules" in str(caught.value.hint)


def test_the_command_line_knows_every_class() -> None:
    assert tuple(ModuleClass) == CLASSES
