"""``ectools demo netboot``, ``docs commands`` and ``docs metrics``: what they print of what they get."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ectools.cli import demo_netboot
from ectools.cli.main import ectools
from ectools.demo.netboot import run_netboot
from ectools.demo.netboot.run_netboot import NetbootDemoOutcome

if TYPE_CHECKING:
    from conftest import Program


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("as_json", [False, True])
def test_the_outcome_is_printed(
    program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, kept: bool, as_json: bool
) -> None:
    given: dict[str, Any] = {}

    def run(**more: Any) -> NetbootDemoOutcome:
        given.update(more)
        return NetbootDemoOutcome(
            verdict="boots",
            stages={"up": 22.25},
            address="192.168.77.145",
            directory=Path("/tmp/d") if kept else None,
            pids=(1, 2, 3) if kept else (),
        )

    monkeypatch.setattr(run_netboot, "run_netboot_demo", run)
    flags = [*(["--keep"] if kept else []), *(["--json"] if as_json else []), "--ovmf", str(tmp_path)]
    status, out, err = program(ectools, "demo", "netboot", "--timeout", "9", *flags)
    assert (status, err) == (0, "")
    assert (given["keep"], given["timeout"], given["ovmf"]) == (kept, 9.0, tmp_path)
    if as_json:
        assert json.loads(out) == {
            "verdict": "boots",
            "stages": {"up": 22.25},
            "address": "192.168.77.145",
            "pids": [1, 2, 3] if kept else [],
            "folder": "/tmp/d" if kept else None,
        }
    else:
        assert "up after 22.2 s, with the address 192.168.77.145" in out
        assert ("kill 1 2 3" in out, "nsenter --target 2 --net" in out) == (kept, kept)


def test_options_before_the_name_of_a_demo_are_not_lost(program: Program) -> None:
    status, _, err = program(ectools, "demo", "--keep", "netboot")
    assert status == 2
    assert "--keep: write it behind netboot" in err


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


def test_each_option_is_handed_on(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    def run(**more: Any) -> NetbootDemoOutcome:
        given.update(more)
        return NetbootDemoOutcome(
            verdict="boots", stages={"up": 1.0}, address="192.0.2.1", directory=None, pids=()
        )

    monkeypatch.setattr(run_netboot, "run_netboot_demo", run)
    program(ectools, "demo", "netboot")
    options = {option.name for option in demo_netboot.netboot.params} - {"as_json"}
    assert set(given) == options | {"stderr"}
