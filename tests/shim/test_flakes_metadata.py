"""``flake_metadata``: where a flake's source is, and its inputs as ``builtins.fetchTree`` takes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pynix_eval_shim as shim
from pynix_eval_shim.flakes import FlakeMetadata, flake_metadata

if TYPE_CHECKING:
    from support.fake_nix import FakeProcess

    from pynix_eval_shim import Nix

LOCKED = {"type": "path", "path": "/a"}


def answer(nodes: Any) -> str:
    return json.dumps({"path": "/nix/store/x-source", "locks": {"root": "root", "nodes": nodes}})


def test_inputs_by_their_names(run: FakeProcess, fake: Nix) -> None:
    nodes = {
        "root": {"inputs": {"a": "a_2", "b": ["a", "c"], "plain": "d"}},
        "a_2": {"locked": LOCKED},
        "d": {"flake": False},
    }
    run.answers = [(0, answer(nodes), "")]
    found = flake_metadata("f:", override_inputs={"b": "path:/b"}, cwd=Path("/tmp"), nix=fake)
    assert found == FlakeMetadata(path="/nix/store/x-source", inputs={"a": LOCKED})
    (call,) = run.calls
    assert call["argv"][1:6] == ["flake", "metadata", "f:", "--json", "--no-write-lock-file"]
    assert call["argv"][-3:] == ["--override-input", "b", "path:/b"]
    assert call["cwd"] == Path("/tmp")
    run.answers = [(0, answer({"root": {}}), "")]
    assert flake_metadata("f:", nix=fake).inputs == {}


@pytest.mark.parametrize("output", ["", "[]", "{}", '{"locks": {"root": "r", "nodes": {}}}'])
def test_what_cannot_be_understood(run: FakeProcess, fake: Nix, output: str) -> None:
    run.answers = [(0, output, "")]
    with pytest.raises(shim.NixError, match="cannot be understood"):
        flake_metadata("f:", nix=fake)


def test_a_reference_is_no_option(run: FakeProcess, fake: Nix) -> None:
    with pytest.raises(shim.DataError, match="does not begin with a dash"):
        flake_metadata("--all", nix=fake)
    assert run.calls == []


@pytest.mark.nix
def test_a_flake_on_the_real_nix(nix: Nix, tmp_path: Path) -> None:
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "flake.nix").write_text("{ outputs = _: { }; }")
    flake = tmp_path / "flake"
    flake.mkdir()
    (flake / "flake.nix").write_text('{ inputs.a.url = "path:/absent"; outputs = _: { }; }')
    inputs = {"a": f"path:{tmp_path}/input"}
    found = flake_metadata(f"path:{flake}", override_inputs=inputs, nix=nix)
    assert (Path(found.path) / "flake.nix").read_text() == (flake / "flake.nix").read_text()
    path = shim.evaluate(
        "locked: (builtins.fetchTree locked).outPath",
        data=dict(found.inputs["a"]),
        impure=True,
        nix=nix,
    )
    assert (Path(path) / "flake.nix").is_file()
    assert not (flake / "flake.lock").exists()
    with pytest.raises(shim.NixError):
        flake_metadata(f"path:{tmp_path}/absent", nix=nix)
