"""What the demos with a boot host have in common: their options, and the last lines that they print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import click

from ectools.cli.param_types import Seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

F = TypeVar("F", bound="Callable[..., None]")

_PAYLOAD = click.option(
    "--payload",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="A directory with kernel and initrd.  [default: made from the distribution's packages]",
)
_IPXE = click.option(
    "--ipxe",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="An iPXE for x86-64 UEFI that looks for autoexec.ipxe.  [default: the distribution's]",
)
_OVMF = click.option(
    "--ovmf",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="A directory with OVMF_CODE.fd and OVMF_VARS.fd.  [default: where the distribution puts them]",
)
_KEEP = click.option(
    "--keep", is_flag=True, help="Leave all of it running, and say how to look at it and stop it."
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")


def boot_host_options(*, timeout: float, seconds_for: str) -> Callable[[F], F]:
    """``--payload``, ``--ipxe``, ``--ovmf``, ``--keep``, ``--timeout`` and ``--json``.

    ``timeout``: its default, in seconds; ``seconds_for``: what they are the seconds of.
    """
    bound = click.option(
        "--timeout",
        type=Seconds(min=1),
        default=timeout,
        show_default=True,
        help=f"Seconds for {seconds_for}.",
    )

    def decorate(command: F) -> F:
        # The last one that is put on stands first in the help.
        for option in (_JSON, bound, _KEEP, _OVMF, _IPXE, _PAYLOAD):
            command = option(command)
        return command

    return decorate


class KeptDemo(Protocol):
    """What is left of a demo: the folder of its logs, and its processes; the second one is the boot host."""

    @property
    def directory(self) -> Path | None: ...
    @property
    def pids(self) -> Sequence[int]: ...


def kept_json(outcome: KeptDemo) -> dict[str, object]:
    """What is left of it, for ``--json``."""
    folder = None if outcome.directory is None else str(outcome.directory)
    return {"pids": outcome.pids, "folder": folder}


def say_where_to_look(outcome: KeptDemo) -> None:
    """Print the page's address, and, of a demo that runs on, how to look at it and stop it."""
    # Where fleet.listen is by default.
    kept = "" if outcome.pids else "; --keep has it run on"
    click.echo(f"the page to look at is http://127.0.0.1:9090/ on the boot host{kept}")
    if outcome.pids:
        pids = " ".join(map(str, outcome.pids))
        click.echo(f"it all runs on: logs in {outcome.directory}; stop it with: kill {pids}")
        click.echo(f"on the boot host: nsenter --target {outcome.pids[1]} --net --preserve-credentials bash")
