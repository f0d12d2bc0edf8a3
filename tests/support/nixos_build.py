"""This checkout's flake, built with a nixpkgs that builds here."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD_SECONDS = 1800


@dataclass(frozen=True)
class Flake:
    """``reference`` is this checkout's source, or a flake with it as its input ``every-channel``.

    ``source``: this checkout's, in the store: an edit during a run changes nothing of it.
    """

    reference: str
    source: Path
    nixpkgs: Path
    env: Mapping[str, str]
    input: str = "nixpkgs"

    @property
    def override(self) -> list[str]:
        """The arguments by which nix takes the nixpkgs that builds."""
        return ["--override-input", self.input, f"path:{self.nixpkgs}"]

    def build(self, attribute: str) -> Path:
        """The output of an attribute."""
        (built,) = json.loads(self._nix("build", "--no-link", "--json", attribute=attribute))
        return Path(built["outputs"]["out"])

    def evaluate(self, attribute: str, *, apply: str | None = None) -> Any:
        more = [] if apply is None else ["--apply", apply]
        return json.loads(self._nix("eval", "--json", *more, attribute=attribute))

    def list_closure(self, path: Path) -> list[str]:
        """The store paths that a built one needs, itself among them."""
        return _run_nix(["nix-store", "--query", "--requisites", str(path)], self.env).split()

    def extend(self, directory: Path, name: str, module: str) -> Flake:
        """A flake with one system, ``extended``: the system ``name`` of here with a further module."""
        directory.mkdir(parents=True)
        (directory / "module.nix").write_text(module)
        (directory / "flake.nix").write_text(
            "{\n"
            f"  inputs.every-channel.url = {json.dumps(self.reference)};\n"
            "  outputs = { self, every-channel }: {\n"
            f"    nixosConfigurations.extended = every-channel.nixosConfigurations.{name}.extendModules {{\n"
            "      modules = [ ./module.nix ];\n"
            "    };\n"
            "  };\n"
            "}\n"
        )
        return self.of(directory)

    def of(self, directory: Path) -> Flake:
        """Another flake, which has this checkout as its input ``every-channel``."""
        return Flake(f"path:{directory}", self.source, self.nixpkgs, self.env, "every-channel/nixpkgs")

    def _nix(self, *words: str, attribute: str) -> str:
        where = ["--no-write-lock-file", *self.override, f"{self.reference}#{attribute}"]
        return _run_nix(["nix", *words, *where], self.env)


def _run_nix(argv: list[str], env: Mapping[str, str]) -> str:
    done = subprocess.run(
        argv, env=dict(env), capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
    )
    assert done.returncode == 0, f"{argv}:\n{done.stderr[-6000:]}"
    return done.stdout


def open_flake(nixpkgs: Path, env: Mapping[str, str]) -> Flake:
    """This checkout's, as it is now: what git tracks."""
    found = _run_nix(["nix", "flake", "metadata", "--json", str(ROOT)], env)
    source = Path(json.loads(found)["path"])
    return Flake(f"path:{source}", source, nixpkgs, env)


@pytest.fixture(scope="session")
def flake(buildable_nixpkgs: Path, building_env: Mapping[str, str]) -> Flake:
    """``open_flake`` for tests."""
    return open_flake(buildable_nixpkgs, building_env)


def run_ectools(flake: Flake, *arguments: str | Path) -> str:
    """Standard output of a command of the toolkit, which must not fail."""
    done = subprocess.run(
        [sys.executable, "-m", "ectools.cli.main", *map(str, arguments)],
        env=dict(flake.env),
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr[-6000:]}"
    return done.stdout
