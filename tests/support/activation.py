"""Hosts with this repository's modules, built, and a machine that goes over to one of them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.machine import Machine

_EXPRESSION = Path(__file__).parent.parent / "eval" / "machine.nix"
SWITCH = Path(__file__).with_name("switch.py")
OFF = "off"
"""The host in which no service is enabled."""


@dataclass(frozen=True)
class Hosts:
    """``path`` in the store refers to all that ``named`` says (see tests/eval/machine.nix)."""

    path: Path
    named: Mapping[str, Mapping[str, Any]]

    def activate(self, machine: Machine, name: str) -> None:
        """Make the machine that host, as a rebuild does; what is started is not waited for."""
        machine.run("python3", "-c", SWITCH.read_text(), stdin=json.dumps(self.named[name]))


def build_hosts(
    configs: Mapping[str, Mapping[str, Any]], *, nixpkgs: Path, nix_env: Mapping[str, str]
) -> Hosts:
    """Build hosts (name → configuration, see tests/eval/system.nix), and one without services."""
    given = {"nixpkgs": str(nixpkgs), "hosts": json.dumps({OFF: {}, **configs})}
    arguments = [word for name, value in given.items() for word in ("--argstr", name, value)]
    done = subprocess.run(
        ["nix-build", "--no-out-link", str(_EXPRESSION), *arguments],
        env=dict(nix_env),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    path = Path(done.stdout.strip())
    return Hosts(path, json.loads(path.read_text()))
