"""What a command imports before it does anything: a quick start stays one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = {"aiohttp", "asyncio", "jsonschema", "markdown_it", "pynix_eval_shim", "pyroute2", "qemu", "yaml"}
SHOW = """
import sys
from ectools.cli.main import main
sys.argv[0] = "ectools"
status = main()
print("imported:", *sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
sys.exit(status)
"""


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        (["--version"], set()),
        (["validate", "examples/host.toml"], set()),
        (["validate", "examples/host.json"], set()),
        (["validate", "examples/host.yaml"], {"yaml"}),
        (["vmtest", "--help"], set()),
        (["eval", "--help"], set()),
    ],
)
def test_a_command_imports_what_it_needs(arguments: list[str], allowed: set[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHOW, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    (imported,) = [line for line in done.stderr.splitlines() if line.startswith("imported: ")]
    assert set(imported.split()) & HEAVY <= allowed


@pytest.mark.parametrize(
    ("line", "word"),
    [("ectools netboot sta", "stage"), ("ectools netboot stage --tarb", "--tarball"), ("ectools v", "vm")],
)
def test_a_completion_imports_next_to_nothing(line: str, word: str) -> None:
    words = line.split()
    done = subprocess.run(
        [sys.executable, "-c", SHOW],
        env={
            **os.environ,
            "_ECTOOLS_COMPLETE": "bash_complete",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert f"plain,{word}" in done.stdout.splitlines()
    (imported,) = [line for line in done.stderr.splitlines() if line.startswith("imported: ")]
    assert set(imported.split()) & HEAVY == set()
