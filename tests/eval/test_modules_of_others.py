"""``--module`` on the real nix: modules of each class, with a framework or alone, of files and flakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ectools.docs.model import build_module_doc
from ectools.errors import InputError
from ectools.options.drift import compare
from ectools.options.evaluate import evaluate_expression, evaluate_module
from ectools.options.export import Export, export_tree
from ectools.options.modules import ModuleClass, parse_module
from ectools.schemas import Schema, validate_document

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.nix

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
MODULES = HERE / "modules"


def export(module: str, nixpkgs: Path, module_class: str | None = None) -> Export:
    chosen = None if module_class is None else ModuleClass(module_class)
    dump = evaluate_module(parse_module(module, module_class=chosen), nixpkgs=str(nixpkgs))
    return export_tree(dump, dump.trees[0])


def find_options(node: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    for name, inner in node.get("properties", {}).items():
        here = (*path, name)
        if "x-nix-type" in inner:
            yield ".".join(here)
        else:
            yield from find_options(inner, here)


def find_faults(found: Export, document: Any) -> list[str]:
    return [
        problem.message for problem in validate_document(document, Schema(found.document, "x", prefix=""))
    ]


def test_a_module_of_nixos(nixpkgs: Path) -> None:
    found = export(f"{MODULES}/nixos.nix", nixpkgs)
    assert found.findings == ()
    assert list(find_options(found.document)) == [
        "services.sample.enable",
        "services.sample.host",
        "services.sample.pool.size",
        "users.users",
    ]
    user = found.document["$defs"]["users.users.<name>"]
    # What NixOS has there is not described, and let through.
    assert set(user["properties"]) == {"sampled"}
    assert find_faults(found, {"users": {"users": {"a": {"sampled": True, "isNormalUser": True}}}}) == []
    assert find_faults(found, {"services": {"openssh": {"enable": True}}, "networking": {}}) == []
    assert len(find_faults(found, {"services": {"sample": {"enabel": True}}})) == 1
    assert len(find_faults(found, {"services": {"sample": {"pool": {"size": 0}}}})) == 1


def test_a_module_alone_is_hung_where_its_options_are(nixpkgs: Path) -> None:
    found = export(f"{MODULES}/home.nix", nixpkgs, "homeManager")
    assert found.document["x-nix-path"] == ["programs", "sample"]
    assert list(find_options(found.document)) == ["directory", "enable"]
    assert found.findings == ()
    darwin = export(f"{MODULES}/darwin.nix", nixpkgs, "darwin").document
    assert darwin["properties"]["interval"]["maximum"] == 255
    # As if it were one of NixOS, where there is a group services.
    assert list(find_options(export(f"{MODULES}/darwin.nix", nixpkgs).document)) == ["interval"]
    assert darwin["additionalProperties"] is False
    assert export(f"{MODULES}/darwin.nix", nixpkgs, "generic").document["x-nix-path"] == [
        "services",
        "sample",
    ]


def test_a_module_of_flake_parts_without_flake_parts(nixpkgs: Path) -> None:
    found = export(f"{MODULES}/flake.nix", nixpkgs, "flake")
    assert found.findings == ()
    assert list(find_options(found.document)) == ["flake", "perSystem"]
    assert list(find_options(found.document["$defs"]["flake"])) == ["samples"]
    assert find_faults(found, {"flake": {"samples": {"x86_64-linux": {"a": "b"}}, "packages": 3}}) == []
    assert len(find_faults(found, {"flake": {"samples": {"x86_64-linux": {"a": 3}}}})) == 1


def test_frameworks_are_found_on_nix_path(
    nixpkgs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands in for home-manager and nix-darwin here are their file names and one option of each."""
    own = "{ lib, ... }: { options.programs.sample.inFramework = lib.mkOption { type = lib.types.str; }; }"
    home = tmp_path / "home" / "modules"
    (home / "lib").mkdir(parents=True)
    (home / "lib" / "stdlib-extended.nix").write_text("lib: lib.extend (_: _: { hm.dag = { }; })")
    (home / "modules.nix").write_text("{ check, lib, pkgs }: [ ./own.nix ]")
    (home / "own.nix").write_text(own)
    darwin = tmp_path / "darwin" / "modules"
    darwin.mkdir(parents=True)
    (darwin / "module-list.nix").write_text("[ ./own.nix ]")
    (darwin / "own.nix").write_text(own)
    module = tmp_path / "m.nix"
    module.write_text(
        "{ lib, modulesPath, options, ... }: {\n"
        "  options.programs.sample.mine = lib.mkOption {\n"
        "    type = lib.types.int; default = 1;\n"
        "    description = toString [ (options.programs.sample ? inFramework) (baseNameOf modulesPath) ];\n"
        "  };\n"
        "}\n"
    )
    monkeypatch.setenv("NIX_PATH", f"home-manager={tmp_path}/home:darwin={tmp_path}/darwin")
    for module_class in ("homeManager", "darwin"):
        found = export(str(module), nixpkgs, module_class).document
        assert found["x-nix-path"] == ["programs", "sample"]
        assert list(find_options(found)) == ["mine"]
        assert found["properties"]["mine"]["description"] == "1 modules"
        # The framework has options there too.
        assert "additionalProperties" not in found


def test_a_module_of_a_flake_goes_by_its_inputs(nixpkgs: Path, tmp_path: Path) -> None:
    flake = tmp_path / "sample"
    (flake / "modules").mkdir(parents=True)
    (flake / "modules" / "home.nix").write_text((MODULES / "home.nix").read_text())
    home = tmp_path / "hm"
    (home / "modules" / "lib").mkdir(parents=True)
    (home / "flake.nix").write_text("{ outputs = _: { }; }")
    (home / "modules" / "lib" / "stdlib-extended.nix").write_text("lib: lib")
    (home / "modules" / "modules.nix").write_text(
        "{ lib, ... }: [ { options.programs.sample.own = lib.mkOption { }; } ]"
    )
    (flake / "flake.nix").write_text(
        '{ inputs.nixpkgs.url = "path:/absent"; inputs.home-manager.url = "path:/absent";\n'
        "  outputs = { self, nixpkgs, home-manager }: { homeModules.default = ./modules/home.nix; }; }"
    )
    module = parse_module(f"path:{flake}#homeModules.default")
    assert (module.name, module.module_class) == ("sample", ModuleClass.HOME_MANAGER)
    inputs = {"home-manager": f"path:{home}"}
    dump = evaluate_module(module, nixpkgs=str(nixpkgs), override_inputs=inputs)
    document = export_tree(dump, dump.trees[0]).document
    assert "additionalProperties" not in document
    assert document["properties"]["enable"]["x-nix-declarations"] == ["modules/home.nix#L10"]


def test_the_modules_here_are_as_committed(nixpkgs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = export("nix/modules/ec-node.nix", nixpkgs)
    assert (found.name, found.findings) == ("ec-node", ())
    committed = json.loads((ROOT / "schemas" / "ec-node.schema.json").read_text())
    assert found.document["x-nix-path"] == committed["x-nix-path"]
    assert found.document["properties"] == committed["properties"]
    every = export(".#nixosModules.default", nixpkgs)
    assert every.findings == ()
    assert {"netboot", "ipxe-qemu", "node", "runner"} <= every.document["properties"].keys()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{ }", "declares no option"),
        ("{ lib, ... }: { options.services.openssh.enable = lib.mkOption { type = lib.types.int; }; }", None),
        ("{ imports = [ /absent.nix ]; }", "/absent.nix"),
    ],
)
def test_what_cannot_be_exported_is_told(nixpkgs: Path, tmp_path: Path, text: str, words: str | None) -> None:
    (tmp_path / "m.nix").write_text(text)
    if words is None:
        # Declared twice, which only the broken option tells.
        finding, *_aliases = export(f"{tmp_path}/m.nix", nixpkgs).findings
        assert (finding.option, finding.part) == ("services.openssh.enable", "option")
        assert "already declared" in finding.cause
        return
    with pytest.raises(Exception, match=words) as caught:
        export(f"{tmp_path}/m.nix", nixpkgs)
    assert isinstance(caught.value, InputError) is (words == "declares no option")


CUSTOM = """
with import <nixpkgs/lib>;
let
  inner = types.submodule {
    options.a = mkOption { type = types.int; description = "A."; default = 1; };
    options.broken = mkOption { type = types.int; description = "B."; default = abort "inside"; };
  };
  make = extra: mkOptionType ({ name = "own"; check = _: true; merge = _: _: { }; } // extra);
  dagOf = elemType: make {
    name = "dagOf";
    getSubOptions = prefix: elemType.getSubOptions (prefix ++ [ "<name>" ]);
    nestedTypes = { inherit elemType; old = throw "not to be read"; };
  };
  maybeRaw = elemType: types.either rawLua elemType // {
    name = "maybeRaw";
    nestedTypes = { inherit elemType rawLua; left = abort "not to be read"; };
  };
  rawLua = make { name = "rawLua"; };
  tree = types.attrsOf (types.either types.str tree);
  holder = make { name = "holder"; nestedTypes.part = types.listOf (types.nullOr holder); };
in mapAttrs (_: type: mkOption { inherit type; description = "D."; }) {
  dag = dagOf inner;
  deferred = types.deferredModuleWith {
    staticModules = [ { options.z.y = mkOption { type = types.port; description = "Y."; }; } ];
  };
  free = types.submodule { freeformType = types.attrsOf inner; };
  function = types.functionTo inner;
  listed = types.nullOr (dagOf (types.listOf inner));
  raw = maybeRaw types.int;
  self = holder;
  sub = make { inherit (inner) getSubOptions; };
  taught = make { name = "taught"; nestedTypes.elemType = types.bool; };
  tree = tree // { description = "tree"; };
  unknown = make { nestedTypes.anyName = types.listOf inner; };
}
"""


def test_types_of_others_keep_what_is_below_them(nixpkgs: Path) -> None:
    dump = evaluate_expression(CUSTOM, nixpkgs=str(nixpkgs), types={"taught": "listOf"})
    found = export_tree(dump, dump.trees[0])
    options = found.document["properties"]
    reference = build_module_doc(Schema(found.document, "x", prefix=""))
    names = {option.name for option in reference.options} - set(options)
    below = {"dag.<name>", "free.<name>", "function.<function body>", "listed.<name>.*", "sub", "unknown.*"}
    assert names == {f"{path}.{name}" for path in below for name in ("a", "broken")} | {"deferred.z.y"}
    assert {finding.option for finding in found.findings} == {f"{path}.broken" for path in below}
    assert all("inside" in finding.cause for finding in found.findings)
    # Nobody knows what they take beside it.
    for name in ("dag", "listed", "self", "sub", "unknown", "raw"):
        assert find_faults(found, {name: "x"}) == []
    assert (
        find_faults(found, {"deferred": {"imports": [], "z": {"y": 1, "more": 2}}, "tree": {"a": "b"}}) == []
    )
    assert len(find_faults(found, {"deferred": {"z": {"y": -1}}})) == 1
    assert len(find_faults(found, {"taught": [1]})) == 1
    assert len(find_faults(found, {"tree": {"a": 1}})) == 1
    assert options["tree"]["x-nix-type"] == "tree"
    assert options["dag"]["x-nix-unrepresentable"].startswith("the type dagOf")


def test_renames_of_nixpkgs_are_renames(nixpkgs: Path) -> None:
    def make(modules: str) -> Export:
        options = "options.s.new = mkOption { type = types.port; default = 1; description = ''P.''; };"
        evaluated = f"(evalModules {{ modules = [ {{ _module.check = false; }} {modules} ]; }}).options"
        expression = f"with import <nixpkgs/lib>; builtins.removeAttrs {evaluated} [ ''_module'' ]"
        dump = evaluate_expression(expression.replace("NEW", f"{{ {options} }}"), nixpkgs=str(nixpkgs))
        return export_tree(dump, dump.trees[0])

    plain = "{ options.s.old = mkOption { type = types.port; default = 1; description = ''P.''; }; }"
    gone = "{ options.s.gone = mkOption { type = types.str; default = ''''; description = ''G.''; }; }"
    renamed = "(mkRenamedOptionModule [ ''s'' ''old'' ] [ ''s'' ''new'' ])"
    removed = "(mkRemovedOptionModule [ ''s'' ''gone'' ] ''no more'')"
    changes = compare(make(f"{plain} {gone}").document, make(f"NEW {renamed} {removed}").document)
    assert [change.render() for change in changes] == [
        "breaking: s.gone: it is gone",
        "compatible: s.old: it is renamed to s.new, and the former name still works",
    ]
