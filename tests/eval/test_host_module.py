"""The generated module sets what the host description says: evaluated on NixOS with the module it is for."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ectools import host
from ectools.host.combined_schema import load_combined_schema
from ectools.host.example import build_example

pytestmark = pytest.mark.nix

HERE = Path(__file__).parent
EXAMPLES = {path.stem: path for path in (HERE.parent.parent / "examples").glob("*host*.toml")}


def every_option() -> str:
    """The example of ``ectools init`` with each option set."""
    return re.sub(
        r"^# (?=[\w\"-]+ = )", "", build_example(load_combined_schema().document), flags=re.MULTILINE
    )


HOSTILE = r"""
[services.every-channel.ipxe-qemu]
name = "it's ''${name}\" \\ of\n  two lines"
stateDir = "/var/lib/${x}/'' $${y}"
package = "qemu_kvm"
extraArgs = ["-device", "x,path=''${y}", "", "\u0001\r\t", "\u2028🦀", "in", "-1"]
boot.http.root = "/run/secrets/never copied to the store"
boot.userNet.dnsServers = ["1.1.1.1", "9.9.9.9"]
vcpus = 9223372036854775807
"""

ADDED = {"healthUnits": ["every-channel-node.service"]}
"""What the publisher's profile adds to a list of another module."""
TEXTS = {
    **{name: path.read_text() for name, path in EXAMPLES.items()},
    "every option": every_option(),
    "hostile": HOSTILE,
}


@pytest.fixture(scope="module")
def evaluated(
    nixpkgs: Path, nix_env: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """For each text: what it says, and what NixOS makes of its module."""
    directory = tmp_path_factory.mktemp("modules")
    said: dict[str, dict[str, Any]] = {}
    for number, (name, text) in enumerate(TEXTS.items()):
        description = host.parse_host(text.encode(), file="host.toml", form=host.HostFormat.TOML)
        assert host.validate_host(description) == []
        said[name] = description.root.value["services"]["every-channel"]
        (directory / f"{number}.nix").write_text(host.build_module(description), newline="")
    paths = json.dumps([str(directory / f"{number}.nix") for number in range(len(TEXTS))])
    done = subprocess.run(
        [
            *(
                "nix-instantiate",
                "--eval",
                "--strict",
                "--json",
                "--read-write-mode",
                str(HERE / "generated.nix"),
            ),
            *("--argstr", "nixpkgs", str(nixpkgs), "--argstr", "modules", paths),
        ],
        env=dict(nix_env),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(TEXTS, zip(said.values(), json.loads(done.stdout), strict=True), strict=True))


def check_set(said: dict[str, Any], found: dict[str, Any]) -> None:
    for name, value in said.items():
        if isinstance(value, dict):
            check_set(value, found[name])
        elif name != "package":
            assert found[name] in (value, [*ADDED.get(name, []), *value] if name in ADDED else value), name


@pytest.mark.parametrize("name", TEXTS)
def test_each_option_has_the_value_that_the_description_says(name: str, evaluated: dict[str, Any]) -> None:
    said, found = evaluated[name]
    check_set(said, found["options"])
    assert found["qemu"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_meet_the_modules_assertions(name: str, evaluated: dict[str, Any]) -> None:
    assert evaluated[name][1]["failed"] == []
