"""``ectools docs commands``, ``docs metrics``: pages, written and checked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ectools.cli.main import ectools

if TYPE_CHECKING:
    from conftest import Program


def test_pages_are_written_and_checked(program: Program, tmp_path: Path) -> None:
    assert program(ectools, "docs", "commands")[0] == 2
    status, out, _ = program(ectools, "docs", "commands", "-o", tmp_path / "man")
    assert status == 0
    assert {Path(line).name for line in out.splitlines()} >= {"ectools.1", "every-channel-ipxe-qemu.1"}
    assert program(ectools, "docs", "commands", "--check", tmp_path / "man")[:2] == (0, "")
    (tmp_path / "man/ectools.1").write_text("old")
    status, out, _ = program(ectools, "docs", "commands", "--check", tmp_path / "man")
    assert status == 1
    assert "ectools.1" in out


def test_the_page_of_metrics_is_written_and_checked(program: Program, tmp_path: Path) -> None:
    page = tmp_path / "METRICS.md"
    assert program(ectools, "docs", "metrics")[0] == 2
    assert program(ectools, "docs", "metrics", "-o", page, "--check", tmp_path)[0] == 2
    assert program(ectools, "docs", "metrics", "-o", page)[:2] == (0, f"{page}\n")
    assert page.read_text().startswith("# Metrics\n")
    assert program(ectools, "docs", "metrics", "--check", page)[:2] == (0, "")
    page.write_text("old")
    status, out, _ = program(ectools, "docs", "metrics", "--check", page)
    assert (status, out) == (1, f"{page}: is not what would be written\n")
