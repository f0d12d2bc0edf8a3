"""The nixpkgs tree that a command works with: named, from the environment, or Nix's own."""

from __future__ import annotations

import os
from pathlib import Path

from ectools.errors import InputError


def find_nixpkgs(given: str | None) -> Path | None:
    """The nixpkgs tree that was ``given``, else $NIXPKGS; None where neither is: Nix's own ``<nixpkgs>``.

    Raises InputError where what was named is not a nixpkgs tree.
    """
    named = given or os.environ.get("NIXPKGS")
    if not named:
        return None
    path = Path(named).resolve()
    if not (path / "lib" / "default.nix").is_file():
        raise InputError(f"{named}: not a nixpkgs tree: it has no lib/default.nix")
    return path
