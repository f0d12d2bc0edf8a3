"""``ectools eval`` as a program: values exact, failures as one error with its place, and the exit status."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.needs import require_tool

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.nix

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(nix_env: Mapping[str, str], tmp_path: Path) -> Run:
    require_tool("nix-instantiate", "install nix (Debian: nix-bin)")

    def call(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "ectools.cli.main", "eval", *arguments]
        done = subprocess.run(
            argv,
            env={**nix_env, **env},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert "Traceback" not in done.stderr
        return done

    return call


VALUE = '{ list = [ 1 (-2) 0.1 null true ]; text = "a\\nb \\${x}"; path = /etc; deep.er = { }; }'


def test_a_value_as_nix_and_as_json(run: Run) -> None:
    done = run("--expr", VALUE, "--json")
    assert done.returncode == 0, done.stderr
    value = {
        "list": [1, -2, 0.1, None, True],
        "text": "a\nb ${x}",
        "path": "/etc",
        "deep": {"er": {}},
    }
    assert json.loads(done.stdout) == value
    # What is printed as Nix is Nix, and means the same.
    printed = run("--expr", VALUE).stdout
    assert json.loads(run("--expr", printed, "--json").stdout) == value


def test_a_function_and_its_data(run: Run, tmp_path: Path) -> None:
    (tmp_path / "f.nix").write_text("{ name, n }: { inherit name; twice = n * 2; }")
    (tmp_path / "data.json").write_text(json.dumps({"name": "a ${b} ''c''", "n": 21}))
    done = run("--file", "f.nix", "--data", "data.json", "--apply", "v: v // { more = 1; }", "--json")
    assert json.loads(done.stdout) == {"name": "a ${b} ''c''", "twice": 42, "more": 1}


def test_a_flake_with_another_input(run: Run, tmp_path: Path) -> None:
    for name, text in {
        "own": '{ inputs.nixpkgs.url = "path:/no/nixpkgs"; outputs = i: { v = i.nixpkgs.v + 1; }; }',
        "other": "{ outputs = _: { v = 41; }; }",
    }.items():
        (tmp_path / name / "lib").mkdir(parents=True)
        (tmp_path / name / "lib" / "default.nix").write_text("{ }")
        (tmp_path / name / "flake.nix").write_text(text)
    flake = f"path:{tmp_path}/own"
    assert (
        run("--flake", f"{flake}#v", "--override-input", "nixpkgs", f"path:{tmp_path}/other").stdout == "42\n"
    )
    assert run("--flake", f"{flake}#v", "--nixpkgs", "other").stdout == "42\n"
    failed = run("--flake", f"{flake}#v", "--json")
    assert failed.returncode == 1
    assert json.loads(failed.stdout)["error"]["class"] == "FetchFailedError"
    assert not (tmp_path / "own" / "flake.lock").exists()


def test_which_nixpkgs_is_meant(run: Run, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "lib").mkdir(parents=True)
        (tmp_path / name / "lib" / "default.nix").write_text(f'"{name}"')
    ask = ("--expr", "import <nixpkgs/lib>")
    assert run(*ask, "--nixpkgs", "a", NIXPKGS=str(tmp_path / "b")).stdout == '"a"\n'
    assert run(*ask, "--impure", NIXPKGS=str(tmp_path / "b")).stdout == '"b"\n'
    pure = run(*ask, NIXPKGS=str(tmp_path / "b"))
    assert pure.returncode == 1
    assert "--impure" in pure.stderr


def test_a_failure_for_people(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.nix").write_text("let\n  set = { one = 1; };\nin\n{ two = set.two; }\n")
    done = run("--file", "bad.nix")
    assert (done.returncode, done.stdout) == (1, "")
    lines = done.stderr.splitlines()
    assert lines[0] == "ectools: missing attribute: attribute 'two' missing"
    assert lines[1] == f"  at {tmp_path}/bad.nix:4:9"
    assert lines[2:4] == ["      4 | { two = set.two; }", "        |         ^"]


def test_a_failure_for_programs(run: Run) -> None:
    done = run("--expr", 'builtins.addErrorContext "while looking" (throw "no way")', "--json")
    assert (done.returncode, done.stderr) == (1, "")
    error = json.loads(done.stdout)["error"]
    assert (error["class"], error["message"]) == ("ThrownError", "no way")
    assert "while looking" in [frame["message"] for frame in error["trace"]]


def test_attributes_one_by_one(run: Run) -> None:
    done = run("--expr", '{ a = 1; b = abort "x"; c.d = throw "no d"; e = "é"; }', "--each")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, [line["attr"] for line in lines]) == (1, ["a", "b", "c", "e"])
    assert [line.get("value") for line in lines] == [1, None, None, "é"]
    assert [line["error"]["class"] for line in lines if "error" in line] == ["AbortedError", "ThrownError"]
    assert done.stderr == "2 of 4 attributes could not be evaluated\n"


LARGE = "builtins.length (map toString (builtins.genList (n: n) 100000000))"


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        ([], 2, "one of --expr, --file and --flake"),
        (["--expr", "1", "--file", "x.nix"], 2, "one of"),
        (["--expr", "1", "--override-input", "a", "b"], 2, "goes with --flake"),
        (["--file", "none.nix"], 2, "none.nix: no such file"),
        (["--expr", "x: x", "--data", "none.json"], 2, "none.json"),
        (["--flake", "--help"], 2, "dash"),
        (["--expr", "1", "--timeout", "0"], 2, "timeout"),
        (["--expr", "1", "--nixpkgs", "/etc"], 2, "not a nixpkgs tree"),
        (["--expr", "{"], 1, "nix syntax: syntax error"),
        (["--expr", "x: x"], 1, "wrong type"),
        (["--expr", "1.0e308 * 10", "--json"], 1, "JSON has no infinity"),
        (["--expr", "let f = n: f (n + 1); in f 0", "--timeout", "2"], 1, "timeout|stack overflow"),
        (["--expr", LARGE, "--memory", "500"], 1, "--memory"),
    ],
)
def test_the_exit_status(run: Run, arguments: list[str], status: int, says: str) -> None:
    done = run(*arguments)
    assert done.returncode == status, done.stderr
    assert any(each in done.stderr for each in says.split("|")), done.stderr


def test_without_nix(run: Run, tmp_path: Path) -> None:
    done = run("--expr", "1", PATH=str(tmp_path))
    assert done.returncode == 1
    assert "program not found" in done.stderr
