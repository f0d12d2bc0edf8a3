"""The manual's pages of the commands: what is committed, as man and mandoc read it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.needs import require_tool

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs/man"


def test_the_committed_pages_are_those_of_the_commands() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ectools.cli.main", "docs", "commands", "--check", str(PAGES)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), "ectools docs commands -o docs/man"


def test_man_reads_every_page_without_a_warning() -> None:
    man = require_tool("man", "install man-db")
    pages = sorted(PAGES.glob("*.1"))
    assert {"ectools.1", "ectools-netboot-stage.1", "every-channel-ipxe-qemu.1"} <= {
        path.name for path in pages
    }
    done = subprocess.run(
        [man, "--warnings", "-E", "UTF-8", "-l", *map(str, pages)],
        env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "80", "MANPAGER": "cat"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "ectools netboot stage --tag boot-v2026.03.02 --state-dir ./netboot" in done.stdout


@pytest.mark.full
def test_mandoc_finds_nothing() -> None:
    mandoc = require_tool("mandoc", "install mandoc")
    done = subprocess.run(
        [mandoc, "-T", "lint", "-W", "warning", *sorted(map(str, PAGES.glob("*.1")))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
