"""Builds and checks that succeed, and what they return."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from failure_cases import FLAKE, REFERENCE

import pynix_eval_shim as shim
from pynix_eval_shim import build, flake_check

if TYPE_CHECKING:
    from pynix_eval_shim import Nix

pytestmark = pytest.mark.nix

MAKE = """{ system, name }: derivation {
  inherit name system; builder = "/bin/sh"; args = [ "-c" "echo ${name} > $out" ];
}"""


def test_an_installable(private_store: Nix) -> None:
    (built,) = build(installable=f"{REFERENCE}#default", nix=private_store)
    assert built.drv is not None
    assert built.drv.endswith("-fine.drv")
    assert Path(built.outputs["out"]).read_text() == "fine\n"


def test_every_output_that_is_installed_by_default(private_store: Nix) -> None:
    (built,) = build(installable=f"{REFERENCE}#two-outputs", nix=private_store)
    names = set(built.outputs)
    # Nix 2.8 builds the first output alone.
    assert names == ({"out", "doc"} if shim.probe(nix=private_store).release >= (2, 13) else {"out"})
    assert {Path(path).read_text() for path in built.outputs.values()} == {f"{name}\n" for name in names}


def test_an_expression_with_data(private_store: Nix, tmp_path: Path) -> None:
    data = {"system": shim.probe(nix=private_store).system, "name": "named"}
    (built,) = build(MAKE, data=data, out_link=tmp_path / "link", nix=private_store)
    assert (tmp_path / "link").readlink() == Path(built.outputs["out"])
    assert (tmp_path / "link").read_text() == "named\n"


def test_a_file_whose_set_has_several(private_store: Nix, tmp_path: Path) -> None:
    (tmp_path / "make.nix").write_text(MAKE)
    (tmp_path / "all.nix").write_text(
        'system: { a = import ./make.nix { name = "a"; inherit system; };'
        ' b = import ./make.nix { name = "b"; inherit system; }; }'
    )
    system = shim.probe(nix=private_store).system
    built = build(file="all.nix", cwd=tmp_path, data=system, nix=private_store)
    assert sorted(Path(each.outputs["out"]).read_text() for each in built) == ["a\n", "b\n"]
    # A build inherits no cap on memory; one that is asked for holds.
    with pytest.raises(shim.LimitError):
        build(
            "builtins.length (map toString (builtins.genList (n: n) 100000000))",
            limits=shim.Limits(memory_bytes=500 << 20),
            nix=private_store,
        )


def test_data_does_not_go_with_an_installable(private_store: Nix) -> None:
    with pytest.raises(TypeError, match="data="):
        build(installable=f"{REFERENCE}#default", data=1, nix=private_store)


def test_an_installable_is_no_option(private_store: Nix) -> None:
    with pytest.raises(shim.DataError, match="dash"):
        build(installable="--help", nix=private_store)


@pytest.mark.parametrize("all_systems", [False, True])
def test_a_flake_that_passes(private_store: Nix, all_systems: bool) -> None:
    system = shim.probe(nix=private_store).system
    checked = flake_check(f"path:{FLAKE}", no_build=True, all_systems=all_systems, nix=private_store)
    omitted = [warning for warning in checked.warnings if "omitted" in warning]
    assert omitted == [] or not all_systems
    assert all(system not in warning for warning in omitted)


def test_a_check_with_another_input(private_store: Nix, tmp_path: Path) -> None:
    (tmp_path / "flake.nix").write_text(
        """{ inputs.dep.url = "path:/no/flake"; outputs = { self, dep }: { lib = dep.lib.value; }; }"""
    )
    flake_check(tmp_path, override_inputs={"dep": REFERENCE}, no_build=True, nix=private_store)
    assert [path.name for path in tmp_path.iterdir() if path.name == "flake.lock"] == []


def test_checks_are_built_unless_told_otherwise(private_store: Nix, tmp_path: Path) -> None:
    system = shim.probe(nix=private_store).system
    (tmp_path / "flake.nix").write_text(
        f"""{{ outputs = _: {{ checks.{system}.bad = derivation {{
          name = "bad"; system = "{system}"; builder = "/bin/sh";
          args = [ "-c" "echo why it failed; exit 1" ];
        }}; }}; }}"""
    )
    flake_check(tmp_path, no_build=True, nix=private_store)
    with pytest.raises(shim.BuildFailedError) as caught:
        flake_check(tmp_path, nix=private_store)
    assert caught.value.log == ("why it failed",)
    assert [path.name for path in tmp_path.iterdir() if path.name == "flake.lock"] == []
