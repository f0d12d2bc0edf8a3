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
    """``find_buildable_nixpkgs`` for tests."""
    return find_buildable_nixpkgs(nix_env)


@pytest.fixture(scope="session")
def building_env() -> Mapping[str, str]:
    """``build_environment`` for tests."""
    return build_environment()


def find_buildable_nixpkgs(env: Mapping[str, str]) -> Path:
    """``$BUILDABLE_NIXPKGS``, else the channel ``<debian-nixpkgs>``, whose packages are Debian's binaries.

    Never ``<nixpkgs>``: what of it builds without a binary cache is not known, and with one it is gigabytes.
    Where there is none, which is no fault of the machine, the test is skipped even in continuous integration;
    the run's last lines say so.
    """
    require_tool("nix-instantiate", "install nix (Debian: nix-bin)")
    given = os.environ.get(VARIABLE) or _find_channel(env)
    if given is None:
        pytest.skip(
            f"NO NIXPKGS THAT BUILDS HERE: set {VARIABLE} to one that needs no download, "
            f"or add it as the channel {CHANNEL}"
        )
    tree = Path(given).resolve()
    if not (tree / "flake.nix").is_file():
        give_up(f"{tree} is not a nixpkgs tree: it has no flake.nix")
    return tree


def offline_environment() -> dict[str, str]:
    """This process's environment, with nix's settings for tests: offline, and building without a daemon."""
    lines = ["experimental-features = nix-command flakes", "substituters ="]
    if os.geteuid() == 0:
        # Root without a daemon builds as itself, unsandboxed: user namespaces are not everywhere.
        lines += ["build-users-group =", "sandbox = false"]
    return {**os.environ, "NIX_CONFIG": "\n".join(lines)}


def build_environment() -> dict[str, str]:
    """``offline_environment``, and VM tests run: their QEMU does without KVM where it has to."""
    env = offline_environment()
    return {**env, "NIX_CONFIG": f"{env['NIX_CONFIG']}\nsystem-features = nixos-test kvm"}


def _find_channel(env: Mapping[str, str]) -> str | None:
    argv = ["nix-instantiate", "--find-file", CHANNEL]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None
