"""A nixpkgs with which NixOS is built and boots here, and not only evaluated; and nix's settings for it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.needs import give_up, require_tool

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "BUILDABLE_NIXPKGS"
CHANNEL = "debian-nixpkgs"


@pytest.fixture(scope="session")
def buildable_nixpkgs(nix_env: Mapping[str, str]) -> Path:
    """``$BUILDABLE_NIXPKGS``, else the channel ``<debian-nixpkgs>``, whose packages are Debian's binaries.

    Never ``<nixpkgs>``: what of it builds without a binary cache is not known, and with one it is gigabytes.
    Where there is none, which is no fault of the machine, the test is skipped even in continuous integration;
    the run's last lines say so.
    """
    require_tool("nix-instantiate", "install nix (Debian: nix-bin)")
    given = os.environ.get(VARIABLE) or _find_channel(nix_env)
    if given is None:
        pytest.skip(
            f"NO NIXPKGS THAT BUILDS HERE: set {VARIABLE} to one that needs no download, "
            f"or add it as the channel {CHANNEL}"
        )
    tree = Path(given).resolve()
    if not (tree / "flake.nix").is_file():
        give_up(f"{tree} is not a nixpkgs tree: it has no flake.nix")
    return tree


@pytest.fixture(scope="session")
def building_env(nix_env: Mapping[str, str]) -> Mapping[str, str]:
    """``nix_env``, and VM tests run: their QEMU does without KVM where it has to."""
    return {**nix_env, "NIX_CONFIG": f"{nix_env['NIX_CONFIG']}\nsystem-features = nixos-test kvm"}


def _find_channel(nix_env: Mapping[str, str]) -> str | None:
    argv = ["nix-instantiate", "--find-file", CHANNEL]
    done = subprocess.run(argv, env=nix_env, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None
