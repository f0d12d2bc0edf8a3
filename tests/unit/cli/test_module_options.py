"""``--module`` of the commands that have it: what is evaluated, and what becomes of it; Nix is a fake."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from support.needs import require_tool

from ectools.cli import docs, generate, init, schema, validate
from ectools.cli.module_options import ModuleOptions
from ectools.options import evaluate
from ectools.options.causes import Cause, Step
from ectools.options.dump import Dump, Tree

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Program

    from ectools.options.modules import ModuleReference


def make_option(name: str, **more: Any) -> dict[str, Any]:
    return {
        "path": [name],
        "description": "A number.",
        "type": {"name": "int", "description": "signed integer"},
        "default": {"value": 1},
        **more,
    }


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[ModuleReference, dict[str, Any]]]:
    """The modules that were evaluated, and with what; there are ``m.nix`` and ``n.nix``."""
    found: list[tuple[ModuleReference, dict[str, Any]]] = []

    def evaluate_module(module: ModuleReference, **arguments: Any) -> Dump:
        found.append((module, arguments))
        broken = make_option("bad", broken=["default"], causes={"default": Cause(Step("no"))})
        options = [make_option("size"), *([broken] if module.name == "n" else [])]
        tree = Tree(arguments["name"] or module.name, ("services", module.name), options)
        return Dump(empty_is_default=False, roots=(), trees=(tree,), required=False)

    monkeypatch.setattr(evaluate, "evaluate_module", evaluate_module)
    monkeypatch.chdir(tmp_path)
    for name in ("m", "n"):
        (tmp_path / f"{name}.nix").touch()
    return found


def test_an_export(program: Program, asked: list[Any], tmp_path: Path) -> None:
    arguments = ["--class", "darwin", "--override-input", "a", "b", "--nixpkgs", "/n", "--required"]
    status, out, err = program(schema.COMMAND, "export", "--module", "m.nix", *arguments, "-o", "out")
    assert (status, out, err) == (0, "out/m.schema.json\n", "")
    ((module, given),) = asked
    assert (module.file, module.module_class) == (tmp_path / "m.nix", "darwin")
    assert given["override_inputs"] == {"a": "b"}
    assert (given["nixpkgs"], given["required"]) == ("/n", True)
    document = json.loads((tmp_path / "out/m.schema.json").read_text())
    assert document["x-nix-path"] == ["services", "m"]
    assert program(schema.COMMAND, "export", "--module", "m.nix", "--name", "x", "-o", "out")[1] == (
        "out/x.schema.json\n"
    )


def test_a_broken_option_is_named_by_each(program: Program, asked: list[Any], tmp_path: Path) -> None:
    status, out, err = program(
        schema.COMMAND, "export", "--module", "m.nix", "--module", "n.nix", "-o", "out"
    )
    assert status == 1
    assert out.split() == ["out/m.schema.json", "out/n.schema.json"]
    assert "broken option: services.n.bad: its default does not evaluate" in err
    (tmp_path / "h.json").write_text('{"services": {"n": {"bad": 2}}}')
    status, out, err = program(validate.COMMAND, "h.json", "--module", "n.nix")
    assert (status, out) == (0, "")
    assert "broken option: services.n.bad" in err


def test_descriptions_are_checked_generated_and_begun(
    program: Program, asked: list[Any], tmp_path: Path
) -> None:
    (tmp_path / "h.toml").write_text('[services.m]\nsize = "x"\n[services.other]\nx = 1\n')
    status, out, _ = program(validate.COMMAND, "h.toml", "--module", "m.nix")
    assert status == 1
    assert out.startswith("h.toml:2:8: services.m.size: ")
    assert "other" not in out
    (tmp_path / "h.toml").write_text("[services.m]\nsize = 3\n")
    status, out, _ = program(generate.COMMAND, "h.toml", "--module", "m.nix")
    assert status == 0
    assert "size = 3;" in out
    status, out, _ = program(init.COMMAND, "--module", "m.nix")
    assert status == 0
    assert "# size = 1" in out


def test_a_reference_of_a_module_is_of_it_alone(program: Program, asked: list[Any], tmp_path: Path) -> None:
    status, _, _ = program(docs.COMMAND, "--module", "m.nix", "--format", "man", "-o", "site")
    assert status == 0
    (page,) = (tmp_path / "site").iterdir()
    assert "services.m.size" in page.read_text()
    assert "ipxe" not in page.read_text()


@pytest.mark.parametrize(
    "option", [["--class", "nixos"], ["--nixpkgs", "/n"], ["--override-input", "a", "b"]]
)
def test_what_goes_with_a_module_needs_one(program: Program, asked: list[Any], option: list[str]) -> None:
    status, _, err = program(validate.COMMAND, "h.toml", *option)
    assert status == 2
    assert "go with --module" in err


def test_values_are_checked_against_no_module(program: Program, asked: list[Any]) -> None:
    status, _, err = program(generate.COMMAND, "h.toml", "--value", "--module", "m.nix")
    assert (status, asked) == (2, [])
    assert "--value checks against no schema" in err


def test_without_a_module_there_is_nothing_to_export() -> None:
    none = ModuleOptions(texts=(), module_class=None, inputs=(), nixpkgs=None)
    assert not none
    assert none.export() == []


class TestRevisions:
    """``schema diff`` of what two git revisions evaluate to."""

    @pytest.fixture
    def repository(self, tmp_path: Path, asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
        require_tool("git", "install git")

        def git(*arguments: str) -> None:
            identity = ["-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"]
            subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)

        git("init", "-q")
        for words in ("A number.", "Another."):
            (tmp_path / "m.nix").write_text(words)
            git("add", "m.nix")
            git("commit", "-qm", words)
        (tmp_path / "m.nix").write_text("As it is now.")

        def evaluate_file(file: Path, name: str) -> Dump:
            option = make_option("size", description=file.read_text())
            return Dump(empty_is_default=False, roots=(), trees=(Tree(name, ("s",), [option]),))

        def evaluate_module(module: ModuleReference, **_arguments: Any) -> Dump:
            assert module.file is not None
            return evaluate_file(module.file, module.name)

        def evaluate_expression(expression: str, *, directory: Path, **_arguments: Any) -> Dump:
            return evaluate_file(directory / expression, "options")

        monkeypatch.setattr(evaluate, "evaluate_module", evaluate_module)
        monkeypatch.setattr(evaluate, "evaluate_expression", evaluate_expression)

    @pytest.mark.parametrize("subject", [["--module", "m.nix"], ["--from", "m.nix"]])
    @pytest.mark.usefixtures("repository")
    def test_the_options_of_two_revisions(self, program: Program, subject: list[str]) -> None:
        status, out, _ = program(schema.COMMAND, "diff", *subject, "HEAD~1", "HEAD")
        assert (status, out) == (3, "docs: s.size: the description differs\n")
        status, out, _ = program(schema.COMMAND, "diff", *subject, "HEAD~1", "HEAD", "--ignore", "docs")
        assert (status, out) == (0, "")
        status, out, _ = program(schema.COMMAND, "diff", *subject, "HEAD", ".", "--json")
        assert json.loads(out)["changes"][0]["new"] == "As it is now."

    @pytest.mark.usefixtures("repository")
    @pytest.mark.parametrize(
        "module", ["/m.nix", "github:o/r#nixosModules.x", "path:.#nixosModules.x", "/f#nixosModules.x"]
    )
    def test_a_module_that_is_the_same_in_both(self, program: Program, module: str) -> None:
        status, _, err = program(schema.COMMAND, "diff", "--module", module, "HEAD~1", "HEAD")
        assert status == 2
        assert "relative to the current directory" in err

    def test_one_subject(self, program: Program) -> None:
        status, _, err = program(schema.COMMAND, "diff", "--module", "m", "--from", "m", "a", "b")
        assert status == 2
        assert "either --from or --module" in err
