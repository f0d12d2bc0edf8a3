"""Where the programs begin: what Ctrl-C does before anything handles it."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from ectools.cli import entry

if TYPE_CHECKING:
    from collections.abc import Callable

# Ctrl-C comes at the moment at which the module of that name is looked for.
PROGRAM = """
import os, signal, sys
handlers = {"python's": signal.default_int_handler, "ignored": signal.SIG_IGN}
signal.signal(signal.SIGINT, handlers[sys.argv.pop(1)])
wanted = sys.argv.pop(1)
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == wanted:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
from ectools.cli.entry import run_ectools
sys.exit(run_ectools())
"""


@pytest.mark.parametrize(
    ("handler", "loading", "status"),
    [
        ("python's", "click", -signal.SIGINT),
        ("python's", "ectools.cli.proposals", 130),
        ("ignored", "click", 0),
    ],
)
def test_ctrl_c_while_it_is_loaded(handler: str, loading: str, status: int) -> None:
    argv = [sys.executable, "-c", PROGRAM, handler, loading, "proposals", "--help"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    # Click ends the line in which a terminal has shown ^C.
    assert (done.returncode, done.stderr.strip()) == (status, "")


@pytest.mark.parametrize(
    ("run", "argv", "shown"),
    [
        (entry.run_ectools, ["ectools", "--version"], "ectools, version "),
        (entry.run_ipxe_qemu, ["every-channel-ipxe-qemu", "--help"], "Usage: every-channel-ipxe-qemu"),
    ],
)
def test_each_program_begins_there(
    run: Callable[[], int],
    argv: list[str],
    shown: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(sys, "argv", argv)
    assert run() == 0
    assert capsys.readouterr().out.startswith(shown)
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_where_nothing_handles_it_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("ectools.cli.main.main", interrupt)
    assert entry.run_ectools() == 130
