"""``docs --format options-json`` beside what nixpkgs' own nixosOptionsDoc writes, byte for byte."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ectools.docs.options_json import write_pages
from ectools.docs.reference import build_reference
from ectools.options.evaluate import evaluate_expression
from ectools.options.export import export_tree
from pynix_eval_shim import Limits, evaluate

pytestmark = pytest.mark.nix

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def write_real(directory: Path, options: str, *, nixpkgs: Path, ours: str) -> str:
    """options.json as nixpkgs makes it of an expression for options; its floats as in ``ours``."""
    roots = f'[ {{ prefix = ""; path = "{ROOT}"; }} {{ prefix = "nixpkgs/"; path = "{nixpkgs}"; }} ]'
    raw = directory / "options-of-nixpkgs.json"
    text = evaluate(
        f'builtins.toJSON (import "{HERE}/options_doc.nix" {{ options = {options}; roots = {roots}; }})',
        impure=True,
        nix_path={"nixpkgs": str(nixpkgs)},
        limits=Limits(seconds=600),
    )
    raw.write_text(_name_floats(str(text), ours))
    (directory / "base.json").write_text("{}")
    merge = nixpkgs / "nixos/lib/make-options-doc/mergeJSON.py"
    argv = [sys.executable, str(merge), str(directory / "base.json"), str(raw)]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120).stdout


def _name_floats(text: str, ours: str) -> str:
    """Defaults that are whole floats, which Nix before 2.12 wrote as integers, as later ones write them.

    The default of a type that takes both may be an integer: that is seen in ``ours``, where it is exact.
    """
    options: dict[str, Any] = json.loads(text)
    exact = json.loads(ours)
    for name, option in options.items():
        default = option.get("default", {})
        named = f"{default.get('text')}.0"
        if "float" in option["type"] and exact.get(name, {}).get("default", {}).get("text") == named:
            default["text"] = named
    return json.dumps(options)


def write_ours(*schemas: str) -> str:
    ((_, text),) = write_pages(build_reference(schemas, allow_undocumented=True)).items()
    return text


def export(directory: Path, expression: str, *, nixpkgs: Path) -> tuple[str, set[str]]:
    """The schema's file, and the options whose type is broken: what nixpkgs does not look at has no end."""
    dump = evaluate_expression(expression, nixpkgs=str(nixpkgs))
    exported = export_tree(dump, dump.trees[0])
    path = directory / "exported.schema.json"
    path.write_bytes(exported.render())
    return str(path), {finding.option for finding in exported.findings if finding.part == "type"}


def leave_out(text: str, options: set[str]) -> str:
    """The text of options.json without some options and what is below them."""
    kept = {
        name: option
        for name, option in json.loads(text).items()
        if not any(f"{name}.".startswith(f"{each}.") for each in options)
    }
    return json.dumps(kept)


def compare(ours: str, real: str) -> None:
    """Fails with the fields that differ, where the texts are not the same."""
    if ours == real:
        return
    mine, theirs = json.loads(ours), json.loads(real)
    assert mine.keys() ^ theirs.keys() == set()
    differing = {
        f"{name} {field}": (mine[name].get(field), theirs[name].get(field))
        for name in theirs
        for field in {*mine[name], *theirs[name]}
        if mine[name].get(field) != theirs[name].get(field)
    }
    assert differing == {}
    assert ours == real


def test_of_one_of_everything(tmp_path: Path, nixpkgs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    expression = f'import "{HERE}/odd_options.nix"'
    schema, broken = export(tmp_path, expression, nixpkgs=nixpkgs)
    assert broken == set()
    ours = write_ours(schema)
    compare(ours, write_real(tmp_path, f"({expression}).options", nixpkgs=nixpkgs, ours=ours))


def test_of_the_modules_here(tmp_path: Path, nixpkgs: Path) -> None:
    modules = f"""
      builtins.removeAttrs (((import <nixpkgs/lib>).evalModules {{
        modules = [ (import "{ROOT}/nix/nixos-modules.nix").default ]
          ++ [ {{ _module.check = false; _module.args.pkgs = import <nixpkgs> {{ }}; }} ];
        specialArgs.modulesPath = toString <nixpkgs/nixos/modules>;
      }}).options.services.every-channel) [ "toolsPackage" ]
    """
    ours = write_ours()
    compare(ours, write_real(tmp_path, modules, nixpkgs=nixpkgs, ours=ours))


@pytest.mark.full
def test_of_all_of_nixos(tmp_path: Path, nixpkgs: Path) -> None:
    expression = f'import "{HERE}/nixos.nix" {{ }}'
    schema, broken = export(tmp_path, expression, nixpkgs=nixpkgs)
    assert len(broken) <= 1
    ours = write_ours(schema)
    real = write_real(tmp_path, f"({expression}).options", nixpkgs=nixpkgs, ours=ours)
    compare(leave_out(ours, broken), leave_out(real, broken))
