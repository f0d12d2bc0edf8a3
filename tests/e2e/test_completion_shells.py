"""Completion in real shells, as somebody types: what is on the line after the key."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING

import pytest
from support.needs import require_tool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECONDS = 120
ID = "sha256-0123456789abcdef0123456789abcdef"
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()=>][0-9A-Z]?|[\r\x07\x0f]|.\x08")


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A directory with ``ectools``, and a state directory ``s`` with a release, beside each other."""
    directory = tmp_path / "bin"
    directory.mkdir()
    (directory / "ectools").write_text(f'#!/bin/sh\nexec {sys.executable} -m ectools.cli.main "$@"\n')
    (directory / "ectools").chmod(0o755)
    (tmp_path / "s/releases" / ID).mkdir(parents=True)
    (tmp_path / "s/releases" / ID / "release.json").write_text(json.dumps({"tag": "boot-v1"}))
    (tmp_path / "netboot.json").write_text("{}")
    return directory


class Typist:
    """A shell on a terminal of its own."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._seen = ""

    def type(self, keys: str) -> None:
        os.write(self._descriptor, keys.encode())

    def see(self, text: str) -> str:
        """Wait until ``text`` stands on the terminal; returns all since the last time."""
        deadline = time.monotonic() + SECONDS
        while text not in self._seen:
            left = deadline - time.monotonic()
            assert left > 0, f"no {text!r} in {self._seen!r}"
            if select.select([self._descriptor], [], [], left)[0]:
                with contextlib.suppress(OSError):
                    read = os.read(self._descriptor, 65536).decode("utf-8", "replace")
                    self._seen = _ESCAPES.sub("", self._seen + read)
        seen, self._seen = self._seen, ""
        return seen


@contextlib.contextmanager
def start_shell(argv: list[str], programs: Path) -> Iterator[Typist]:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (50, 200))  # a line that is broken would be read as another one
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "TERM": "xterm",
        "HOME": str(programs.parent),
        "PS1": "> ",
    }
    shell = subprocess.Popen(
        argv,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=programs.parent,
        env=environment,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield Typist(ours)
    finally:
        shell.kill()
        shell.wait()
        os.close(ours)


def expect_completions(shell: Typist) -> None:
    for typed, completed in (
        ("ectools netboot sta", "ectools netboot stage "),
        ("ectools netboot releases pin --state-dir s sha256-01", f"--state-dir s {ID}"),
        ("ectools netboot stage --config netb", "--config netboot.json"),
        ("ectools netboot probe --no-f", "ectools netboot probe --no-fetch"),
    ):
        shell.type(f"{typed}\t")
        seen = shell.see(completed)
        assert "Traceback" not in seen
        shell.type("\x15")  # takes the line back


def test_bash(programs: Path) -> None:
    bash = require_tool("bash", "install bash")
    with start_shell([bash, "--norc", "--noprofile", "-i"], programs) as shell:
        shell.type('eval "$(ectools completion bash)"; echo re""ady\n')
        shell.see("\nready")
        expect_completions(shell)


@pytest.mark.full
def test_zsh(programs: Path) -> None:
    zsh = require_tool("zsh", "install zsh")
    with start_shell([zsh, "-f", "-i"], programs) as shell:
        shell.type('autoload -Uz compinit; compinit -u -D; eval "$(ectools completion zsh)"; echo re""ady\n')
        shell.see("\nready")
        expect_completions(shell)


@pytest.mark.full
def test_fish(programs: Path) -> None:
    """By the command that says what the key would give."""
    fish = require_tool("fish", "install fish")
    script = (
        "ectools completion fish | source; "
        "complete -C 'ectools netboot sta'; "
        "complete -C 'ectools netboot releases pin --state-dir s sha256-01'; "
        "complete -C 'ectools netboot stage --config netb'"
    )
    done = subprocess.run(
        [fish, "--no-config", "-c", script],
        cwd=programs.parent,
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(programs.parent)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.stderr == ""
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["stage", ID, "netboot.json"]


def test_a_program_that_breaks_says_nothing_to_the_shell() -> None:
    """By a module that cannot be imported, as in half an installation."""
    broken = (
        "import sys; sys.modules['ectools.netboot.settings.model'] = None; sys.argv[0] = 'ectools'; "
        "from ectools.cli.main import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", broken],
        env={
            **os.environ,
            "_ECTOOLS_COMPLETE": "bash_complete",
            "COMP_WORDS": "ectools netboot stage --",
            "COMP_CWORD": "3",
        },
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("", "")
