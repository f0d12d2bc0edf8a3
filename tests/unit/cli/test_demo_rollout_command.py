"""``ectools demo rollout``: what it prints of its outcome."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ectools.cli import demo_rollout
from ectools.cli.main import ectools
from ectools.demo.rollout import run_rollout
from ectools.demo.rollout.run_rollout import RolloutDemoOutcome

if TYPE_CHECKING:
    from conftest import Program


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("as_json", [False, True])
def test_the_outcome_is_printed(
    program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, kept: bool, as_json: bool
) -> None:
    given: dict[str, Any] = {}

    def run(**more: Any) -> RolloutDemoOutcome:
        given.update(more)
        return RolloutDemoOutcome(
            why="1 node has failed (node-2: failed: a.service)",
            reached=1,
            seconds={"boot": 30.0, "good": 90.0, "stopped": 31.0, "back": 28.0},
            directory=Path("/tmp/d") if kept else None,
            pids=(1, 2, 3) if kept else (),
        )

    monkeypatch.setattr(run_rollout, "run_rollout_demo", run)
    flags = [*(["--keep"] if kept else []), *(["--json"] if as_json else []), "--ovmf", str(tmp_path)]
    status, out, err = program(ectools, "demo", "rollout", "--timeout", "9", *flags)
    assert (status, err) == (0, "")
    assert (given["keep"], given["timeout"], given["ovmf"]) == (kept, 9.0, tmp_path)
    options = {option.name for option in demo_rollout.rollout.params} - {"as_json"}
    assert set(given) == options | {"stderr"}
    if as_json:
        found = json.loads(out)
        assert (found["reached"], found["seconds"]["good"]) == (1, 90.0)
        assert found["folder"] == ("/tmp/d" if kept else None)
    else:
        assert "stopped after 31 s: 1 node has failed (node-2: failed: a.service)" in out
        assert "http://127.0.0.1:9090/ on the boot host" in out
        assert ("kill 1 2 3" in out, "nsenter --target 2 --net" in out) == (kept, kept)
