"""``ectools``: the group that loads each command when it is named, and the only place that exits."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ectools import __version__, log
from ectools.cli.lazy import LazyGroup, completion_variable
from ectools.errors import EcError, ProblemsError
from ectools.redact import redact_urls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import NoReturn

# In the order of the work: see it, set it up, run it, look after it; then what works on this repository.
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("ectools.cli.demo", "Boot a guest over iPXE from an embedded host description."),
    "doctor": ("ectools.cli.doctor", "Say what this host lacks for each command."),
    "init": ("ectools.cli.init", "Write an example host description to start from."),
    "validate": ("ectools.cli.validate", "Check host descriptions, with line and column."),
    "generate": ("ectools.cli.generate", "Make the NixOS module of a host description."),
    "netboot": ("ectools.cli.netboot", "Serve network-boot artifacts."),
    "fleet": ("ectools.cli.fleet", "Machines by name: what each of them boots, and why."),
    "rollout": ("ectools.cli.rollout", "Lead a group's nodes from one release to the next by waves."),
    "vm": ("ectools.cli.vm", "Run a persistent QEMU guest that boots over iPXE."),
    "service": ("ectools.cli.service", "Install services as systemd units, where there is no NixOS."),
    "verify-closure": (
        "ectools.cli.verify_closure",
        "Build this system again, and compare it with what runs or was published.",
    ),
    "completion": ("ectools.cli.completion", "Print what a shell reads to complete command lines."),
    "options": ("ectools.cli.options", "Show a host's options: value, default, and where they are defined."),
    "eval": ("ectools.cli.eval", "Evaluate Nix, with typed errors."),
    "schema": ("ectools.cli.schema", "Export JSON Schemas from NixOS modules and check them for drift."),
    "docs": ("ectools.cli.docs", "Write the option reference from the schemas."),
    "vmtest": ("ectools.cli.vmtest", "Run the NixOS VM tests of a flake."),
    "proposals": ("ectools.cli.proposals", "Lint, list and start evolution proposals."),
}
_UNWRITTEN = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
DOCS_URL = "https://every.channel"
"""Where the documentation is."""


@click.group(
    cls=LazyGroup,
    modules=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=f"Example: ectools demo netboot\n\nDocumentation: {DOCS_URL}",
)
@click.version_option(__version__, prog_name="ectools")
def ectools() -> None:
    """Boot machines and guests over the network: serve releases, lead fleets, check settings, write docs."""


def run_command(command: click.Command, *, prog_name: str) -> int:
    """Run a click command as a program: returns the exit status, and prints every error on standard error.

    0 done, 1 failed, 2 bad usage or input, 130 interrupted, 143 and 129 ended by SIGTERM and SIGHUP. A reader
    that goes away before the end (`ectools docs | head`) is a failure without words, as click has it.
    """
    if (variable := completion_variable(prog_name)) in os.environ:
        return _complete(command, prog_name, variable)
    _open_standard_streams()
    # A command that serves chooses otherwise when it begins to (``log_format``).
    log.set_up(json_lines=False)
    with _ended_by_exception():
        return _guard(lambda: command.main(prog_name=prog_name, standalone_mode=False), prog_name)


def _open_standard_streams() -> None:
    """``/dev/null`` for each that was closed: else the next file or socket would be taken for it."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            mode = "w" if descriptor else "r"
            # The lowest number that is free is that one: those before it are open by now.
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - as long as the program runs


def _complete(command: click.Command, prog_name: str, variable: str) -> int:
    """Answer a shell. Whatever goes wrong, nothing of it gets into the line that somebody is typing."""
    try:
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(nowhere):
            command.main(prog_name=prog_name, complete_var=variable)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    except (Exception, KeyboardInterrupt):
        return 1


@contextlib.contextmanager
def _ended_by_exception() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the block as an exception, so that no process that it started outlives it.

    What is ignored (`nohup`) stays ignored; a second signal does not break the cleaning up.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    taken = [number for number, handler in before.items() if handler is signal.SIG_DFL]

    def stop(number: int, _frame: object) -> NoReturn:
        for each in taken:
            signal.signal(each, signal.SIG_IGN)
        raise click.exceptions.Exit(128 + number)

    for number in taken:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in taken:
            # A command may have put its own in place, for what is left of the process.
            if signal.getsignal(number) is stop:
                signal.signal(number, signal.SIG_DFL)


def _guard(call: Callable[[], object], prog_name: str) -> int:  # noqa: PLR0911 - one return a kind of end
    try:
        status = call()
        sys.stdout.flush()
    except click.exceptions.Exit as stop:
        return int(stop.exit_code)
    except click.exceptions.Abort:
        return 130
    except click.ClickException as error:
        # Click's own words of an argument have it in them as it was written.
        words = io.StringIO()
        error.show(words)
        click.echo(redact_urls(words.getvalue()), nl=False, err=True)
        return int(error.exit_code)
    except EcError as error:
        _report(error, prog_name)
        return error.exit_code
    except BrokenPipeError:
        _leave_output()
        return 1
    except OSError as error:
        if (described := _describe(error)) is None:
            raise
        _report(described, prog_name)
        return 1
    except KeyboardInterrupt:
        return 130
    return status if isinstance(status, int) else 0


def _describe(error: OSError) -> EcError | None:
    """What the system has against a file that is not looked at any closer, or a full disk; else None."""
    if isinstance(error.filename, str | bytes):
        return EcError(f"{os.fsdecode(error.filename)}: {error.strerror}")
    if error.errno not in _UNWRITTEN:
        return None
    try:
        sys.stdout.flush()
    except OSError:
        _leave_output()
    hint = "look at where standard output goes, and at the file system of temporary files"
    return EcError(f"what was to be written could not be: {error.strerror}", hint=hint)


def _leave_output() -> None:
    """Keep the interpreter from complaining at exit of what it cannot flush."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _report(error: EcError, prog_name: str) -> None:
    """The last line on standard error, in the form of those before it."""
    if not log.writes_json():
        click.echo(f"{prog_name}: {error.render()}", err=True)
        return
    fields: dict[str, Any] = {} if error.hint is None else {"hint": error.hint}
    if isinstance(error, ProblemsError):
        fields["problems"] = [problem.render() for problem in error.problems]
    log.Log("ectools.cli.main").error(error.message, **fields)  # as a script, this module is __main__


def main() -> int:
    """The program ``ectools``, loaded; the return value is the exit status."""
    return run_command(ectools, prog_name="ectools")


if __name__ == "__main__":
    sys.exit(main())
