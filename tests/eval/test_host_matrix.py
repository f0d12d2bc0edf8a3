"""The flake's hosts as they are, and with every option of the services that a host may have besides."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.option_matrix import turn_on_everything

pytestmark = [pytest.mark.nix]

EXPRESSION = Path(__file__).with_name("hosts.nix")
SERVICES = ("ipxe-qemu", "netboot", "node")


@pytest.fixture(scope="module")
def found(nixpkgs: Path, nix_env: Mapping[str, str]) -> dict[str, Any]:
    more = turn_on_everything(SERVICES)["services"]["every-channel"]
    given = {"nixpkgs": str(nixpkgs), "more": json.dumps(more)}
    arguments = [word for name, value in given.items() for word in ("--argstr", name, value)]

    def evaluate(*words: str) -> Any:
        argv = ["nix-instantiate", "--eval", "--json", "--read-write-mode", str(EXPRESSION), *arguments]
        done = subprocess.run(
            [*argv, *words], env=dict(nix_env), capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    # One at a time: with all of them in one process, nix 2.8 dies now and then as it collects garbage.
    return {name: evaluate("--strict", "--attr", f"hosts.{name}") for name in evaluate("--attr", "names")}


@pytest.mark.parametrize("which", ["base", "more"])
def test_every_host_holds_its_assertions_without_a_warning(found: dict[str, Any], which: str) -> None:
    assert len(found) > 5
    for name, host in found.items():
        assert (host[which]["failed"], host[which]["warnings"]) == ([], []), name


def test_the_services_are_the_same_on_every_host_of_a_platform(found: dict[str, Any]) -> None:
    """What else a host is changes nothing in their units."""
    for architecture in ("x86_64", "aarch64"):
        names = [name for name in found if architecture in name]
        units = [
            {unit: file for unit, file in found[name]["more"]["units"].items() if is_service(unit)}
            for name in names
        ]
        assert units[0]
        for name, each in zip(names, units, strict=True):
            assert each == units[0], name


def is_service(unit: str) -> bool:
    return unit.startswith(tuple(f"every-channel-{service}" for service in SERVICES))
