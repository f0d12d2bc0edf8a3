"""What the workflows run: a release is built, published, led to, and promoted."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from support.needs import give_up, require_tool
from support.releases import release_files

from ectools.netboot.depot.channel import open_pointer
from ectools.netboot.settings.model import SignatureFormat

ROOT = Path(__file__).parents[2]
# `nix build` that finds its result made, and says how it was asked.
NIX = """#!/bin/sh
echo "$@" >> "$NIX_ASKED"
env >> "$NIX_ASKED"
ls "$TMPDIR"/tmp.* >> "$NIX_ASKED"
while [ "$1" != --out-link ]; do shift; done
ln -sfn "$NIX_OUTPUT" "$2"
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    if not (ROOT / ".venv/bin/ectools").exists():
        give_up("there is no .venv; ./dev setup makes it")
    minisign = require_tool("minisign", "Debian: minisign")
    argv = [minisign, "-G", "-W", "-p", tmp_path / "key.pub", "-s", tmp_path / "key"]
    subprocess.run(argv, check=True, capture_output=True)
    output, programs = tmp_path / "output", tmp_path / "bin"
    output.mkdir()
    programs.mkdir()
    for name, data in release_files().items():
        (output / name).write_bytes(data)
    (programs / "nix").write_text(NIX)
    (programs / "nix").chmod(0o755)
    return {
        "HOME": str(tmp_path),
        "PATH": f"{programs}:{os.environ['PATH']}",
        "TMPDIR": str(tmp_path),
        "NIX_OUTPUT": str(output),
        "NIX_ASKED": str(tmp_path / "asked"),
        "SYSTEMS": "x86_64",
        "TAG": "boot-v2026.03.02",
        "COMMIT": "1" * 40,
        "REPOSITORY": "https://git.example.org/owner/name",
        "PUBLISH_TO": str(tmp_path / "depot"),
        "RELEASE_KEY": (tmp_path / "key").read_text(),
    }


def run(script: str, environment: dict[str, str], **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / ".ci" / script],
        env={**environment, **more},
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )


def find_tag(tmp_path: Path, channel: str) -> str:
    data = (tmp_path / f"depot/channels/{channel}.json").read_bytes()
    key = (tmp_path / "key.pub").read_bytes()
    return open_pointer(data, channel, form=SignatureFormat.MINISIGN, public_key=key, where="it").tag


def test_a_tag_becomes_canary_and_then_stable(environment: dict[str, str], tmp_path: Path) -> None:
    done = run("publish", environment)
    assert done.returncode == 0, done.stderr
    assert "boot-v2026.03.02: published" in done.stdout
    assert find_tag(tmp_path, "canary") == "boot-v2026.03.02"
    asked = (tmp_path / "asked").read_text()
    assert "ec-runner-x86_64-netboot.config.system.build.netboot" in asked
    # Whoever builds has the secrets neither in its environment nor as files.
    assert environment["RELEASE_KEY"].splitlines()[1] not in asked
    assert "key" not in asked.splitlines()
    statement = json.loads((tmp_path / "depot/releases/boot-v2026.03.02/provenance.json").read_bytes())
    source, lock = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert source["uri"] == "git+https://git.example.org/owner/name"
    assert lock["name"] == "flake.lock"
    again = run("publish", environment)
    assert (again.returncode, "nothing changed" in again.stdout) == (0, True), again.stderr
    promoted = run("promote", environment, FROM="canary", TO="stable")
    assert promoted.returncode == 0, promoted.stderr
    assert find_tag(tmp_path, "stable") == "boot-v2026.03.02"
    # What a run has written of its secrets is gone with it.
    assert not any(path.is_dir() for path in tmp_path.glob("tmp.*"))


def test_without_a_key_nothing_is_built(environment: dict[str, str], tmp_path: Path) -> None:
    done = run("publish", {name: value for name, value in environment.items() if name != "RELEASE_KEY"})
    assert done.returncode != 0
    assert "the private key of minisign" in done.stderr
    assert not (tmp_path / "asked").exists()
