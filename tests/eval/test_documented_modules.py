"""What README and guides show in Nix is a system that evaluates, with none of its assertions failed."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

pytestmark = pytest.mark.nix

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

# What a part of a service's options is shown for; a service that is shown whole has to be so.
BASES = {
    "services.every-channel.netboot = {": "netboot.enable = true;",
    "services.every-channel.netboot.": 'netboot = { enable = true; listenIP = "192.0.2.10"; };',
    "services.every-channel.runner.": "runner.enable = true;",
}


def find_modules() -> dict[str, str]:
    """Document and number → the text of a module."""
    found = {}
    for document in DOCUMENTS:
        blocks = re.findall(r"^```nix\n(.*?)^```$", document.read_text(), re.MULTILINE | re.DOTALL)
        for number, block in enumerate(blocks, 1):
            module = block if block.startswith("{") else f"{{\n{block}}}\n"
            bases = [text for start, text in BASES.items() if block.startswith(start)]
            base = f"{{ services.every-channel = {{ {' '.join(bases)} }}; }}"
            ours = f"import {ROOT}/nix/nixos-modules.nix"
            found[f"{document.stem}-{number}"] = (
                f"let inputs.every-channel.nixosModules = {ours}; in {{ imports = [ {base} ({module}) ]; }}"
            )
    return found


def test_what_is_shown_evaluates(nixpkgs: Path, nix_env: Mapping[str, str], tmp_path: Path) -> None:
    (tmp_path / "publisher.pub").touch()
    modules = find_modules()
    assert len(modules) >= 7
    for name, text in modules.items():
        (tmp_path / f"{name}.nix").write_text(text)
    expression = f"""
      let find = name: (import {ROOT}/tests/eval/system.nix {{
        nixpkgs = "{nixpkgs}";
        config = "{{}}";
        modules = [ ({tmp_path} + "/${{name}}.nix") ];
      }}).failed; in
      builtins.listToAttrs (map (name: {{ inherit name; value = find name; }})
        (builtins.fromJSON ''{json.dumps(list(modules))}''))
    """
    argv = ["nix-instantiate", "--eval", "--strict", "--json", "--read-write-mode", "--expr", expression]
    done = subprocess.run(argv, env=dict(nix_env), capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert {name: failed for name, failed in json.loads(done.stdout).items() if failed} == {}
