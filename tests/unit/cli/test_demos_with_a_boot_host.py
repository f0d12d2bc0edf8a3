"""``ectools demo netboot``, ``rollout``: what they are given, and what they print of how it went."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ectools.cli.demo_boot_host import kept_json
from ectools.cli.demo_netboot import netboot
from ectools.cli.demo_rollout import rollout
from ectools.cli.main import ectools
from ectools.demo.netboot import run_netboot
from ectools.demo.netboot.run_netboot import NetbootDemoOutcome
from ectools.demo.rollout import run_rollout
from ectools.demo.rollout.run_rollout import RolloutDemoOutcome

if TYPE_CHECKING:
    import click
    from conftest import Program

NETBOOT = {"verdict": "boots", "stages": {"up": 22.25}, "address": "192.168.77.145"}
NETBOOT_LINES = ["the machine was up after 22.2 s, with the address 192.168.77.145"]
ROLLOUT = {
    "why": "1 node has failed (node-2: failed: a.service)",
    "reached": 1,
    "seconds": {"boot": 30.0, "good": 90.0, "stopped": 31.0, "back": 28.0},
}
ROLLOUT_LINES = [
    "the good release went out in 90 s",
    "the bad one was stopped after 31 s: 1 node has failed (node-2: failed: a.service)",
    "1 of the machines had it, and came back in 28 s",
]
BOTH = pytest.mark.parametrize(
    ("command", "runs", "kind", "said", "lines"),
    [
        pytest.param(netboot, (run_netboot, "run_netboot_demo"), NetbootDemoOutcome, NETBOOT, NETBOOT_LINES),
        pytest.param(rollout, (run_rollout, "run_rollout_demo"), RolloutDemoOutcome, ROLLOUT, ROLLOUT_LINES),
    ],
    ids=["netboot", "rollout"],
)


@BOTH
@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("as_json", [False, True])
def test_the_options_are_handed_on_and_the_outcome_is_printed(
    program: Program,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    command: click.Command,
    runs: tuple[Any, str],
    kind: Any,
    said: dict[str, Any],
    lines: list[str],
    *,
    kept: bool,
    as_json: bool,
) -> None:
    given: dict[str, Any] = {}
    outcome = kind(**said, directory=Path("/tmp/d") if kept else None, pids=(1, 2, 3) if kept else ())

    def run(**more: Any) -> Any:
        given.update(more)
        return outcome

    monkeypatch.setattr(*runs, run)
    flags = [*(["--keep"] if kept else []), *(["--json"] if as_json else []), "--ovmf", str(tmp_path)]
    status, out, err = program(ectools, "demo", command.name, "--timeout", "9", *flags)
    assert (status, err) == (0, "")
    assert (given["keep"], given["timeout"], given["ovmf"]) == (kept, 9.0, tmp_path)
    assert set(given) == {option.name for option in command.params} - {"as_json"} | {"stderr"}
    if as_json:
        assert json.loads(out) == {
            **said,
            "pids": [1, 2, 3] if kept else [],
            "folder": "/tmp/d" if kept else None,
        }
        return
    assert out.splitlines()[: len(lines)] == lines
    assert ("http://127.0.0.1:9090/ on the boot host; --keep has it run on" in out) == (not kept)
    assert ("kill 1 2 3" in out, "nsenter --target 2 --net" in out) == (kept, kept)


def test_what_is_left_of_a_demo_that_ended_is_nothing() -> None:
    ended = NetbootDemoOutcome(verdict="boots", stages={}, address="192.0.2.1", directory=None, pids=())
    assert kept_json(ended) == {"pids": (), "folder": None}


def test_a_machine_that_reports_is_told(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    stages = {"up": 22.0, "reported": 31.5}
    outcome = NetbootDemoOutcome(verdict="", stages=stages, address="192.0.2.1", directory=None, pids=())
    monkeypatch.setattr(run_netboot, "run_netboot_demo", lambda **_: outcome)
    _, out, _ = program(ectools, "demo", "netboot")
    assert "it has reported to the boot host after 31.5 s: up, healthy\n" in out


def test_options_before_the_name_of_a_demo_are_not_lost(program: Program) -> None:
    status, _, err = program(ectools, "demo", "--keep", "netboot")
    assert status == 2
    assert "--keep: write it behind netboot" in err
