"""The directory of a demo's run: removed by it, or by the next one where it was killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ectools.demo.run_directory import leave_run_directory, make_run_directory

KILLED = """\
import contextlib, os, pathlib, signal, sys
from ectools.demo.run_directory import make_run_directory
directory = make_run_directory(contextlib.ExitStack(), place=pathlib.Path(sys.argv[1]))
(directory / "state").mkdir()
print(directory, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_one_is_removed_by_its_run(tmp_path: Path) -> None:
    with contextlib.ExitStack() as undo:
        directory = make_run_directory(undo, place=tmp_path)
        assert directory.parent == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_that_of_a_killed_run_is_removed_by_the_next_and_no_other(tmp_path: Path) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path], stdout=subprocess.PIPE, encoding="utf-8", check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == [Path(killed.stdout.strip())]
    unknown = tmp_path / "ectools-demo-unknown"
    unknown.mkdir()
    with contextlib.ExitStack() as undo, contextlib.ExitStack() as other:
        running = make_run_directory(undo, place=tmp_path)
        kept = make_run_directory(other, place=tmp_path)
        leave_run_directory(kept)
        other.pop_all()
        target = tmp_path / "target"
        (target / ".running").mkdir(parents=True)
        (tmp_path / "ectools-demo-link").symlink_to(target)
        with contextlib.ExitStack() as third:
            make_run_directory(third, place=tmp_path)
            assert Path(killed.stdout.strip()) not in {*tmp_path.iterdir()}
            assert {running, kept, unknown, target} < {*tmp_path.iterdir()}
    assert {*tmp_path.iterdir()} == {kept, unknown, target, tmp_path / "ectools-demo-link"}


@pytest.mark.usefixtures("root")
def test_that_of_another_user_stays(tmp_path: Path) -> None:
    theirs = tmp_path / "ectools-demo-theirs"
    theirs.mkdir()
    (theirs / ".running").touch()
    os.chown(theirs, 7, 7)
    with contextlib.ExitStack() as undo:
        make_run_directory(undo, place=tmp_path)
    assert theirs.is_dir()
