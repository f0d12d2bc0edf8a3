"""The command line: what is printed where, and the exit status."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from ectools.cli.main import COMMANDS, run_command


def ectools(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ectools.cli.main", *arguments],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_a_help_with_an_example(command: str) -> None:
    done = ectools(command, "--help", COLUMNS="200")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Example: ectools {command}" in done.stdout


def test_help_lists_every_command_and_loads_none() -> None:
    program = (
        "import sys; from ectools.cli.main import ectools\n"
        "try: ectools(['--help'])\n"
        "except SystemExit: print([m for m in ('aiohttp', 'jsonschema', 'asyncio') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert all(f"  {command} " in done.stdout for command in COMMANDS)


def test_an_unknown_command_or_option_is_a_usage_error_on_stderr() -> None:
    for arguments in (["nonsense"], ["docs", "--nonsense"], ["vm"]):
        done = ectools(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert "Usage: ectools" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_what_a_command_started_ends_with_it(tmp_path: Path, number: signal.Signals) -> None:
    started = tmp_path / "started"
    for name in ("nix", "nix-instantiate"):
        (tmp_path / name).write_text(
            f"#!/bin/sh\necho $$ > {started}.new; mv {started}.new {started}; sleep 600\n"
        )
        (tmp_path / name).chmod(0o755)
    # Whoever runs the tests may have made Python deaf to what it was deaf to itself.
    program = (
        "import signal, sys; from ectools.cli.main import main; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); "
        "signal.signal(signal.SIGHUP, signal.SIG_DFL); sys.exit(main())"
    )
    command = subprocess.Popen(
        [sys.executable, "-c", program, "eval", "--expr", "1"],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not started.exists():
        assert command.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    command.send_signal(number)
    out, err = command.communicate(timeout=60)
    assert (command.returncode, out, err.strip()) == (128 + number, "", "")
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)


def test_a_reader_that_goes_away_gets_no_complaint() -> None:
    script = f"{sys.executable} -m ectools.cli.main proposals list | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("1\n", "")


@pytest.mark.parametrize("arguments", [["proposals", "list"], ["completion", "bash"], ["docs", "--help"]])
def test_a_full_disk_below_standard_output_is_a_failure_in_words(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ectools.cli.main", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    message, hint = done.stderr.splitlines()
    assert message == "ectools: what was to be written could not be: No space left on device"
    assert hint.startswith("  hint: ")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_was_closed_is_none_for_which_another_file_is_taken(
    closed: str, tmp_path: Path
) -> None:
    program = (
        "import os, sys; from ectools.cli.main import run_command; import click\n"
        f"path = {str(tmp_path / 'number')!r}\n"
        "def look():\n with open(path, 'w') as file: print(file.fileno(), file=file)\n"
        "sys.argv = ['x']; sys.exit(run_command(click.command(look), prog_name='x'))"
    )
    script = f'exec {sys.executable} -c "$0" {closed}'
    done = subprocess.run(
        ["bash", "-c", script, program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert int((tmp_path / "number").read_text()) > 2


@pytest.mark.parametrize("arguments", [["init", "-o"], ["schema", "export", "-o"], ["schema", "diff"]])
def test_a_name_that_the_system_does_not_take_is_an_error_with_that_name(arguments: list[str]) -> None:
    name = "x" * 300
    done = ectools(*arguments, name, *([name] if "diff" in arguments else []))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"ectools: {name}: File name too long\n"


def test_bash_completes_commands() -> None:
    script = "COMP_WORDS='ectools do' COMP_CWORD=1 _ECTOOLS_COMPLETE=bash_complete ectools"
    done = subprocess.run(
        ["bash", "-c", script],
        env={**os.environ, "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "plain,docs" in done.stdout.splitlines()


def test_a_password_in_an_argument_is_in_none_of_clicks_words(capsys: pytest.CaptureFixture[str]) -> None:
    @click.command()
    @click.option("--count", type=int)
    def command(count: int) -> None:
        raise AssertionError(count)

    for arguments in (["https://u:sEcret@h"], ["--count", "https://u:sEcret@h"], ["--https://u:sEcret@h"]):
        command_of = click.Group("x", commands={"y": command})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.argv", ["x", "y", *arguments])
            assert run_command(command_of, prog_name="x") == 2
        told = capsys.readouterr().err
        assert "sEcret" not in told
        assert "//***@h" in told
