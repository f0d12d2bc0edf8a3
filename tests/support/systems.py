"""Systems with the modules of this repository, for the tests that evaluate or build them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SYSTEM = Path(__file__).parent.parent / "eval" / "system.nix"


@dataclass(frozen=True)
class Systems:
    """tests/eval/system.nix with a configuration: one of its attributes evaluated, or built."""

    nixpkgs: Path
    env: Mapping[str, str]

    def run(self, program: list[str], attribute: str, config: Any) -> subprocess.CompletedProcess[str]:
        given = ["--argstr", "nixpkgs", str(self.nixpkgs), "--argstr", "config", json.dumps(config)]
        return subprocess.run(
            [*program, str(SYSTEM), *given, "-A", attribute],
            env=dict(self.env),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def evaluate(self, attribute: str, config: Any) -> Any:
        done = self.run(
            ["nix-instantiate", "--eval", "--strict", "--json", "--read-write-mode"], attribute, config
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def build(self, attribute: str, config: Any) -> Path:
        done = self.run(["nix-build", "--no-out-link"], attribute, config)
        assert done.returncode == 0, done.stderr
        return Path(done.stdout.strip())


@pytest.fixture(scope="session")
def systems(nixpkgs: Path, nix_env: Mapping[str, str]) -> Systems:
    return Systems(nixpkgs, nix_env)
