"""Options evaluated by the real nix: the table of types, broken options, and the whole of NixOS."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import golden

from ectools.options.checking import check_schemas
from ectools.options.evaluate import evaluate_expression, evaluate_modules
from ectools.options.export import export_tree
from ectools.options.request import OptionsError
from ectools.schemas import Schema, validate_document

if TYPE_CHECKING:
    from ectools.options.export import Export

pytestmark = pytest.mark.nix

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def export(expression: str, nixpkgs: Path, *, output: bool = False, required: bool = False) -> Export:
    dump = evaluate_expression(expression, nixpkgs=str(nixpkgs), required=required)
    return export_tree(dump, dump.trees[0], output=output)


def test_the_table_of_types(nixpkgs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    expression = f'import "{HERE}/type_table.nix" {{ lib = import "{nixpkgs}/lib"; }}'
    table = export(expression, nixpkgs, required=True)
    assert table.findings == ()
    golden.compare("schemas/type_table.schema.json", table.render().decode())


def test_the_committed_schemas_are_what_the_modules_say(nixpkgs: Path) -> None:
    dump = evaluate_modules(nixpkgs=str(nixpkgs))
    exports = [export_tree(dump, tree) for tree in dump.trees]
    stale = check_schemas(exports, ROOT / "schemas", known=[each.name for each in exports])
    assert [drift.render() for drift in stale] == []


def test_the_nixpkgs_that_is_named_is_that_of_the_expression_too(nixpkgs: Path, tmp_path: Path) -> None:
    another = tmp_path / "another"
    another.mkdir()
    for name in ("lib", ".version"):
        if (nixpkgs / name).exists():
            (another / name).symlink_to(nixpkgs / name)
    expression = "with import <nixpkgs/lib>; { x = mkOption { description = toString <nixpkgs>; }; }"
    assert export(expression, another).document["properties"]["x"]["description"] == str(another)


def test_a_former_name_of_what_is_no_option_takes_any_value(nixpkgs: Path) -> None:
    expression = """
      with import <nixpkgs/lib>; evalModules { modules = [
        (mkRenamedOptionModule [ "old" ] [ "settings" "new" ])
        (mkRenamedOptionModule [ "former" ] [ "declared" ])
        {
          options.declared = mkOption { type = types.int; default = 1; };
          options.settings = mkOption { type = types.submodule { freeformType = with types; attrsOf str; }; };
          options.hidden = mkOption {
            visible = false;
            type = types.submodule { options.a = mkOption { }; };
          };
        }
      ]; }
    """
    schema = Schema(export(expression, nixpkgs).document, "x", "")
    assert validate_document({"old": "text", "former": 2, "hidden": {"a": 1}}, schema) == []
    wrong = validate_document({"former": "text", "hidden": "text"}, schema)
    assert [problem.option for problem in wrong] == ["former", "hidden"]


BROKEN = """
  let lib = import <nixpkgs/lib>; in with lib;
  {
    aborts = mkOption { type = types.str; default = abort "no"; };
    throws = mkOption { type = types.str; default = throw "no"; description = "still here"; };
    missing.name = mkOption { type = types.int; default = { }.name; };
    forever = mkOption { type = types.int; default = let x = x; in x; };
    deep = mkOption { type = types.int; example = let f = n: f (n + 1) + 1; in f 0; };
    typeless = mkOption { type = types.listOf { }.type; };
    nested = mkOption {
      type = types.submodule {
        options.inner = mkOption { type = types.int; default = abort "inside"; };
        options.outer = mkOption { type = types.int; default = throw "thrown inside"; };
        options.fine = mkOption { type = types.port; default = 1; };
      };
    };
    gone = throw "not an option";
    lost.deeper = abort "not an option either";
    value = 3;
    fine = mkOption { type = types.bool; description = "fine"; };
  }
"""


def test_broken_options_are_named_and_the_rest_is_exported(nixpkgs: Path) -> None:
    result = export(BROKEN, nixpkgs)
    assert {(finding.option, finding.part) for finding in result.findings} == {
        ("aborts", "default"),
        ("throws", "default"),
        ("missing.name", "default"),
        ("forever", "default"),
        ("deep", "example"),
        ("typeless", "type"),
        ("nested.inner", "default"),
        ("nested.outer", "default"),
        ("gone", "option"),
        ("lost.deeper", "option"),
    }
    options = result.document["properties"]
    assert options["fine"]["type"] == "boolean"
    assert options["throws"]["description"] == "still here"
    assert options["aborts"]["type"] == "string"
    assert result.document["$defs"]["nested"]["properties"]["fine"]["maximum"] == 65535
    causes = {finding.option: finding.cause for finding in result.findings}
    for option, words in {
        "aborts": "'no'",
        "throws": "no",
        "missing.name": "attribute 'name' missing",
        "forever": "infinite recursion",
        "deep": "stack overflow",
        "nested.inner": "'inside'",
        "nested.outer": "thrown inside",
        "gone": "not an option",
        "lost.deeper": "'not an option either'",
    }.items():
        assert words in causes[option]
    assert options["throws"]["x-nix-broken"]["default"]["message"] == "no"
    assert list(options["typeless"]["x-nix-broken"]) == ["type"]
    assert "x-nix-unrepresentable" in options["typeless"]


def test_the_cause_of_a_broken_option_is_told_with_its_place(nixpkgs: Path, tmp_path: Path) -> None:
    (tmp_path / "m.nix").write_text(
        "{ lib }: let pick = set: set.name; in\n"
        "{ x = lib.mkOption {\n"
        "  type = lib.types.str;\n"
        "  default = pick { };\n"
        "  example = throw ''none'';\n"
        "}; }\n"
    )
    expression = f"import {tmp_path}/m.nix {{ lib = import <nixpkgs/lib>; }}"
    (default, example) = export(expression, nixpkgs).findings
    assert default.cause == f"attribute 'name' missing, at {tmp_path}/m.nix#L1"
    assert any(step.endswith(f"{tmp_path}/m.nix#L4") for step in default.trace)
    assert example.cause == f"none, at {tmp_path}/m.nix#L5"
    assert not any("/nix/lib/" in step for finding in (default, example) for step in finding.trace)


@pytest.mark.parametrize("expression", ["3", "{", "throw ''nothing at all''", "{ }.options"])
def test_an_expression_that_yields_no_options_is_one_error(nixpkgs: Path, expression: str) -> None:
    with pytest.raises(OptionsError, match="cannot be evaluated"):
        export(expression, nixpkgs)


def test_a_message_of_the_module_system_that_has_no_end_is_told_by_its_steps(nixpkgs: Path) -> None:
    expression = """
        with import <nixpkgs/lib>;
        let
          tree = evalModules {
            modules = [
              {
                options.known = mkOption { type = types.raw; };
                config.known.options = { };
                config.unknown = tree.config;
              }
            ];
          };
        in
        tree.config.known
    """
    with pytest.raises(OptionsError, match="infinite recursion") as caught:
        export(expression, nixpkgs)
    assert "`unknown', which is an option that does not exist" in caught.value.message


def test_defaults_and_examples_keep_their_kind(nixpkgs: Path) -> None:
    result = export(
        """
        with import <nixpkgs/lib>;
        let derivation = { type = "derivation"; name = "p"; outPath = "/x"; }; in
        {
          exact = mkOption { type = types.float; default = 0.1234567890123456; };
          small = mkOption { type = types.float; default = 1.0e-300; };
          code = mkOption { type = types.str; defaultText = literalExpression "pkgs.x"; default = throw ""; };
          words = mkOption { type = types.str; defaultText = literalMD "some *words*"; };
          drv = mkOption { type = types.package; default = derivation; };
          fn = mkOption { type = types.functionTo types.int; default = x: 1; };
          tagged = mkOption { type = types.attrs; default = { float = [ 1 2 ]; set = { }; }; };
          unset = mkOption { type = types.nullOr types.str; };
          must = mkOption { type = types.str; };
        }
        """,
        nixpkgs,
    ).document
    options = result["properties"]
    assert options["exact"]["default"] == 0.1234567890123456
    assert options["small"]["default"] == 1.0e-300
    assert options["code"]["x-nix-default-text"] == "pkgs.x"
    assert options["words"]["x-nix-default-markdown"] == "some *words*"
    assert options["drv"]["x-nix-default-text"] == "<derivation p>"
    assert options["fn"]["x-nix-default-text"] == "<function>"
    assert "x-nix-unrepresentable" in options["fn"]
    assert options["tagged"]["default"] == {"float": [1, 2], "set": {}}
    assert "required" not in result


def test_what_must_be_set_in_the_options_of_a_module_and_in_submodules(nixpkgs: Path) -> None:
    expression = """
      with import <nixpkgs/lib>;
      rec {
        must = mkOption { type = types.str; };
        may = mkOption { type = types.str; default = ""; };
        computed = mkOption { type = types.str; defaultText = "x"; };
        unset = mkOption { type = types.nullOr types.str; };
        internal = mkOption { type = types.str; internal = true; };
        group.deep = must;
        sub = mkOption { type = types.submodule { options = { inherit must may; }; }; default.must = ""; };
      }
    """
    dump = evaluate_expression(expression, nixpkgs=str(nixpkgs), required=True)
    tree = replace(dump.trees[0], path=("services", "x"))
    document = export_tree(dump, tree).document
    unset = [] if dump.empty_is_default else ["unset"]
    assert sorted(document["required"]) == sorted(["group", "must", *unset])
    assert document["properties"]["group"]["required"] == ["deep"]
    assert document["$defs"]["sub"]["required"] == ["must"]


SELF_DEFINED = """
  with import <nixpkgs/lib>;
  let plain = mkOption { type = types.str; }; in
  {
    jobs = mkOption {
      type = types.attrsOf (types.submodule ({ name, config, ... }: {
        options = {
          name = plain;
          target = plain;
          kind = plain;
          # Nobody can tell without the rest of a configuration.
          unknown = plain;
          missing = plain;
        };
        config = {
          name = mkDefault name;
          target = "/run/${config.name}";
          unknown = mkIf (config.kind == "x") "y";
          missing = mkIf { }.nothing "y";
        };
      }));
    };
  }
"""


def test_what_a_submodule_defines_itself_need_not_be_set(nixpkgs: Path) -> None:
    dump = evaluate_expression(SELF_DEFINED, nixpkgs=str(nixpkgs), required=True)
    result = export_tree(dump, dump.trees[0])
    assert result.document["$defs"]["jobs.<name>"]["required"] == ["kind", "missing", "unknown"]
    assert result.findings == ()
    # In a tree of somebody else's, whether something reads an option that nobody sets is not known either.
    assert "required" not in export(SELF_DEFINED, nixpkgs).document["$defs"]["jobs.<name>"]


def test_the_output_side_of_a_coerced_type(nixpkgs: Path) -> None:
    table = f'import "{HERE}/type_table.nix" {{ lib = import "{nixpkgs}/lib"; }}'
    options = export(table, nixpkgs, output=True).document["properties"]
    assert options["coercedTo"]["type"] == "string"
    assert options["coercedToList"]["type"] == "array"


def test_all_of_nixos_in_one_go(nixpkgs: Path) -> None:
    result = export(f'import "{HERE}/nixos.nix" {{ }}', nixpkgs)
    text = json.dumps(result.document)
    assert text.count('"x-nix-type"') > 15_000
    assert len(result.findings) < 20
    port = result.document["properties"]["services"]["properties"]["grafana"]
    assert port["properties"]["enable"]["type"] == "boolean"
