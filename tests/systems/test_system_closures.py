"""One flake's runner in three forms: from the network whole, in two stages, and installed.

What a machine of each form has for a store is taken out of what it would boot from, and ``ectools
verify-closure`` has to say the same of all three.
"""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from support.needs import require_tool
from support.nixos_build import Flake, run_ectools

from .release import FETCHES, RUNNER

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.nix, pytest.mark.full, pytest.mark.timeout(3600)]

_INSTALLED = "ec-runner-x86_64"
_FLAKE = """
{
  inputs.every-channel.url = REFERENCE;
  outputs = { self, every-channel }: {
    nixosConfigurations = every-channel.nixosConfigurations // {
      two-stage = every-channel.nixosConfigurations.RUNNER.extendModules { modules = [ ./module.nix ]; };
    };
  };
}
"""


def make_flake(flake: Flake, directory: Path) -> Flake:
    directory.mkdir()
    text = _FLAKE.replace("REFERENCE", json.dumps(flake.reference)).replace("RUNNER", RUNNER)
    (directory / "flake.nix").write_text(text)
    (directory / "module.nix").write_text(FETCHES)
    return flake.of(directory)


def list_image(image: Path, directory: Path) -> list[str]:
    """The store paths in a squashfs, as a machine mounts it."""
    require_tool("unshare", "install util-linux")
    directory.mkdir()
    script = 'mount -t squashfs -o loop,ro "$1" "$2" && ls "$2"'
    argv = ["unshare", "--mount", "sh", "-c", script, "sh", str(image), str(directory)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    names = done.stdout.split()
    names.remove("nix-path-registration")
    return [f"/nix/store/{name}" for name in names]


def list_installed(flake: Flake, toplevel: Path, directory: Path) -> list[str]:
    """The store paths on a disk that an installation has copied a system to."""
    copy = ["nix", "copy", "--no-check-sigs", "--to", f"local?root={directory}", str(toplevel)]
    subprocess.run(copy, env=dict(flake.env), check=True)
    store = directory / "nix/store"
    return [f"/nix/store/{each.name}" for each in store.iterdir() if each.name != ".links"]


def verify(flake: Flake, name: str, paths: list[str], listing: Path) -> dict[str, Any]:
    """The answer, less what names the form; ``same`` decides the exit status too."""
    listing.write_text("".join(f"{path}\n" for path in paths))
    override = ("--override-input", "every-channel/nixpkgs", f"path:{flake.nixpkgs}")
    directory = flake.reference.removeprefix("path:")
    said = run_ectools(
        flake, "verify-closure", name, "--flake", directory, *override, "--published", listing, "--json"
    )
    answer: dict[str, Any] = json.loads(said)
    for side in ("rebuilt", "other"):
        assert answer[side]["paths"] == len(paths)
        del answer[side]
    return answer


def test_three_forms_have_one_answer(flake: Flake, tmp_path: Path) -> None:
    three = make_flake(flake, tmp_path / "flake")
    build = "config.system.build"
    whole = three.build(f"nixosConfigurations.{RUNNER}.{build}.squashfsStore")
    fetched = three.build(f"nixosConfigurations.two-stage.{build}.netboot") / "store.squashfs"
    installed = three.build(f"nixosConfigurations.{_INSTALLED}.{build}.toplevel")
    forms = {
        RUNNER: list_image(whole, tmp_path / "whole"),
        "two-stage": list_image(fetched, tmp_path / "fetched"),
        _INSTALLED: list_installed(three, installed, tmp_path / "disk"),
    }
    answers = [verify(three, name, paths, tmp_path / "listing") for name, paths in forms.items()]
    assert answers == [{"same": True, "changed": [], "added": [], "removed": []}] * 3
