"""Closures of store paths, and paths that were changed behind the store's back."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pynix_eval_shim as shim
from pynix_eval_shim import find_modified, path_hashes, requisites

if TYPE_CHECKING:
    from pynix_eval_shim import Nix

pytestmark = pytest.mark.nix

CHAIN = """{ system }: let
  make = name: text: derivation {
    inherit name system text; builder = "/bin/sh"; args = [ "-c" "echo $text > $out" ];
  };
in make "top" "${make "middle" "${make "bottom" "x"}"}"
"""


def build_chain(nix: Nix) -> dict[str, str]:
    """Three paths by name, each of which refers to the next."""
    (built,) = shim.build(CHAIN, data={"system": shim.probe(nix=nix).system}, nix=nix)
    paths = requisites(built.outputs["out"], nix=nix)
    assert built.outputs["out"] in paths
    return {path.rsplit("-", 1)[1]: path for path in paths}


def test_a_closure_is_the_path_and_all_below_it(private_store: Nix) -> None:
    chain = build_chain(private_store)
    assert set(chain) == {"top", "middle", "bottom"}
    assert requisites(chain["bottom"], nix=private_store) == (chain["bottom"],)
    assert list(requisites(chain["top"], nix=private_store)) == sorted(chain.values())


def test_a_path_that_is_not_in_the_store(nix: Nix) -> None:
    missing = f"/nix/store/{'0' * 32}-missing"
    with pytest.raises(shim.NixError, match="is not valid"):
        requisites(missing, nix=nix)
    with pytest.raises(shim.NixError, match="is not valid"):
        find_modified([missing], nix=nix)


def test_hashes_are_of_the_content(private_store: Nix) -> None:
    chain = build_chain(private_store)
    found = path_hashes(list(chain.values()), nix=private_store)
    assert list(found) == list(chain.values())
    assert len(set(found.values())) == 3
    assert all(each.startswith("sha256:") and len(each) == 59 for each in found.values())


def test_what_was_changed_behind_the_stores_back(private_store: Nix) -> None:
    chain = build_chain(private_store)
    paths = list(chain.values())
    assert find_modified(paths, nix=private_store) == ()
    assert find_modified([], nix=private_store) == ()
    victim = Path(chain["middle"])
    subprocess.run(["chmod", "u+w", str(victim)], check=True)
    victim.write_text("y\n")
    assert find_modified(paths, nix=private_store) == (chain["middle"],)
    with pytest.raises(shim.NixError, match="is not valid"):
        find_modified([chain["middle"], f"{chain['top'][:-3]}gone"], nix=private_store)
