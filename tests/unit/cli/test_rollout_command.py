"""``ectools rollout`` with a server that answers: what is drawn, and with which status it ends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from support import golden
from support.fleet_api import CURRENT, FLEET, NOW, PREVIOUS, Api, control_socket, make_boot

from ectools.cli import fleet_looks
from ectools.cli.rollout import COMMAND
from ectools.netboot.boots.model import BootState, NodeStage
from ectools.netboot.rollout.kept import ROLLOUTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Program


def prepare(api: Api) -> None:
    """A group of twelve that names what it boots."""
    nodes = {
        f"n{number:02}": {"group": "runners", "match": {"serial": f"S-{number}"}} for number in range(12)
    }
    api.document = {**FLEET, "groups": {"runners": {"release": "boot-v1"}}, "nodes": nodes}
    api.rebase()


@pytest.fixture
def sock(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "control.sock"
    with control_socket(path, prepare):
        yield path


def entry(**fields: Any) -> dict[str, Any]:
    """A rollout as the store has it."""
    plan = {
        "id": "r1",
        "group": "runners",
        "target": CURRENT.id,
        "before": PREVIOUS.id,
        "base": "boot-v1",
        "waves": [50, 100],
        "max_failures": 1,
        "at": NOW - 900,
        "by": "alice",
    }
    return {
        "plan": plan,
        "state": "running",
        "wave": 1,
        "opened": NOW - 60,
        "taken": [],
        "failed": [],
        "healthy": [],
        **fields,
    }


def keep(**fields: Any) -> Callable[[Api], None]:
    async def load(api: Api) -> None:
        await api.store.put(f"{ROLLOUTS}runners", entry(**fields))
        await api.rollouts.load()

    def put(api: Api) -> None:
        prepare(api)
        api.on_start.append(lambda: load(api))

    return put


def test_start_says_how_many_get_it_and_when(program: Program, sock: Path) -> None:
    arguments: tuple[str | Path, ...] = ("start", "boot-v2", "--group", "runners", "--canary", "2")
    arguments = (*arguments, "--waves", "50%, 100", "--socket", sock)
    status, out, err = program(COMMAND, *arguments)
    assert (status, out) == (0, "")
    assert err.endswith("runners: boot-v2 goes to 2, 6, 12 of 12 nodes\n")
    status, _, err = program(COMMAND, *arguments)
    assert status == 2
    assert "runners: a rollout of boot-v2 is running" in err
    assert "`ectools rollout abort runners` ends it" in err
    for name, told in (("pause", "paused"), ("resume", "goes on"), ("abort", "ended; all go back")):
        status, _, err = program(COMMAND, name, "runners", "--socket", sock)
        assert (status, err.splitlines()[-1]) == (0, f"runners: boot-v2: {told}")
    status, out, _ = program(COMMAND, "status", "--json", "--socket", sock)
    assert (status, json.loads(out)[0]["state"]) == (1, "aborted")


@pytest.mark.parametrize("waves", ["5%,x", "", "5;100"])
def test_waves_that_are_none(program: Program, sock: Path, waves: str) -> None:
    status, _, err = program(
        COMMAND, "start", "boot-v2", "--group", "runners", "--waves", waves, "--socket", sock
    )
    assert status == 2
    assert "percentages" in err


def test_how_it_stands(program: Program, tmp_path: Path) -> None:
    taken = [[f"n{number:02}", NOW - 300] for number in range(6)]
    state = keep(taken=taken, healthy=["n00", "n01", "n02"], failed=[["n03", "no healthy report"]])
    with control_socket(tmp_path / "control.sock", state):
        status, out, _ = program(COMMAND, "status", "--socket", tmp_path / "control.sock")
    assert status == 0
    golden.compare("fleet/rollout.txt", out)


def test_waiting_ends_with_it_or_with_the_time(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_looks, "_LOOK_SECONDS", 0.0)
    sock = tmp_path / "control.sock"
    with control_socket(sock, keep(taken=[["n00", NOW - 5]])):
        arguments = ("status", "runners", "--wait", "--timeout", "0.01", "--socket", sock)
        assert program(COMMAND, *arguments)[0] == 1
        assert program(COMMAND, "status", "--timeout", "1", "--socket", sock)[0] == 2
        for command in (("status", "--wait", "--timeout"), ("start", "r", "--group", "g", "--within")):
            status, _, err = program(COMMAND, *command, "nan", "--socket", sock)
            assert (status, "nan is no time in seconds" in err) == (2, True)
        status, _, err = program(COMMAND, "status", "nobody", "--socket", sock)
        assert (status, "this group has no rollout" in err) == (2, True)
    with control_socket(sock, keep(state="done", healthy=["n00"], taken=[["n00", NOW - 5]])):
        status, out, _ = program(COMMAND, "status", "--wait", "--socket", sock)
        assert (status, "done" in out) == (0, True)


def test_of_one_that_was_stopped_nothing_is_under_way(program: Program, tmp_path: Path) -> None:
    taken = [[f"n{number:02}", NOW - 300] for number in range(3)]
    state = keep(state="stopped", taken=taken, failed=[["n01", "a.service has failed"]], ended=NOW - 9)
    with control_socket(tmp_path / "control.sock", state):
        status, out, _ = program(COMMAND, "status", "--socket", tmp_path / "control.sock")
    assert status == 1
    assert out.startswith(
        "runners: boot-v2: stopped, wave 1 of 2: at its end 3 had it, 0 healthy, 1 failed\n"
    )
    assert "under way" not in out


def test_what_has_come_to_it_since_its_end_is_told(program: Program, tmp_path: Path) -> None:
    done = keep(state="done", taken=[["n00", NOW - 300]], healthy=["n00"], ended=NOW - 200, wave=2)

    def put(api: Api) -> None:
        done(api)
        stages = {NodeStage.SCRIPT: NOW - 100}
        api.boots.note(make_boot("n01", id="b-1", stages=stages, state=BootState.HEALTHY))
        bad = {"stages": stages, "state": BootState.UNHEALTHY}
        api.boots.note(make_boot("n02", id="b-2", **bad, why="a.service has failed"))
        api.boots.note(make_boot("n00", id="b-3", **bad))
        api.boots.note(make_boot("n03", id="b-4", release=PREVIOUS.id, **bad))

    with control_socket(tmp_path / "control.sock", put):
        status, out, _ = program(COMMAND, "status", "--socket", tmp_path / "control.sock")
    assert (status, out.splitlines()) == (
        0,
        [
            "runners: boot-v2: done, wave 2 of 2: at its end 1 had it, 1 healthy",
            "  given it since its end: n01, n02",
            "  failed since its end: n00: unhealthy",
            "  failed since its end: n02: a.service has failed",
        ],
    )


def test_where_there_is_none(program: Program, sock: Path) -> None:
    assert program(COMMAND, "status", "--socket", sock) == (0, "", "there is no rollout\n")
