"""Staging's fixtures, for the tests of this directory; and a command run as a program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest
from support.staging import forge, staged_dir, tmp_path

from ectools.cli.main import run_command

if TYPE_CHECKING:
    import click

__all__ = ["forge", "program", "staged_dir", "tmp_path"]


class Program(Protocol):
    """Runs a command with arguments: exit status, standard output, standard error."""

    def __call__(self, command: click.Command, *arguments: object) -> tuple[int, str, str]: ...


@pytest.fixture
def program(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Program:
    """A command as ``ectools`` runs it, in this process."""

    def run(command: click.Command, *arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["ectools", *map(str, arguments)])
        status = run_command(command, prog_name="ectools")
        out, err = capsys.readouterr()
        return status, out, err

    return run
