"""Many configurations of the modules in one nix process: tests/eval/variants.nix."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

EXPRESSION = Path(__file__).parent.parent / "eval" / "variants.nix"


@dataclass(frozen=True)
class Variants:
    """``configs`` are written to ``directory``, because an argument holds 128 KiB at most."""

    nixpkgs: Path
    env: Mapping[str, str]
    directory: Path

    def evaluate(self, attributes: Sequence[str], configs: Sequence[Any]) -> list[dict[str, Any]]:
        """These attributes of each configuration, in its order; an attribute is dropped where it throws."""
        names = json.dumps(json.dumps(list(attributes)))
        pick = f"""
          found: let inherit (builtins) deepSeq fromJSON getAttr listToAttrs tryEval; in
          listToAttrs (builtins.concatMap (name:
            let attempt = tryEval (deepSeq (getAttr name found) (getAttr name found)); in
            if attempt.success then [ {{ inherit name; inherit (attempt) value; }} ] else [ ]
          ) (fromJSON {names}))
        """
        expression = f"map ({pick}) (import {EXPRESSION} {{ {self._arguments(configs)} }})"
        argv = ["nix-instantiate", "--eval", "--strict", "--json", "--read-write-mode"]
        done = self._run([*argv, "--expr", expression])
        assert done.returncode == 0, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    def build(self, attribute: str, config: Any) -> Path:
        """The output of one attribute of one configuration."""
        done = self.try_build(attribute, config)
        assert done.returncode == 0, done.stderr
        return Path(done.stdout.strip())

    def try_build(self, attribute: str, config: Any) -> subprocess.CompletedProcess[str]:
        expression = f"(builtins.head (import {EXPRESSION} {{ {self._arguments([config])} }})).{attribute}"
        return self._run(["nix-build", "--no-out-link", "--expr", expression])

    def _arguments(self, configs: Sequence[Any]) -> str:
        file = self.directory / "configs.json"
        file.write_text(json.dumps(list(configs)))
        return f'nixpkgs = "{self.nixpkgs}"; configs = "{file}";'

    def _run(self, argv: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            argv, env=dict(self.env), capture_output=True, text=True, timeout=600, check=False
        )


@pytest.fixture(scope="session")
def variants(nixpkgs: Path, nix_env: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Variants:
    return Variants(nixpkgs, nix_env, tmp_path_factory.mktemp("variants"))
