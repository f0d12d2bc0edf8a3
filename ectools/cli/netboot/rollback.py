"""``ectools netboot rollback``: back to the release before."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from ectools.cli.netboot.state import load_state, state_options

if TYPE_CHECKING:
    from pathlib import Path


@click.command(epilog="Example: ectools netboot rollback --state-dir ./netboot")
@state_options
@click.option("--json", "as_json", is_flag=True, help="Print {current, previous} on standard output.")
def rollback(*, config: Path | None, state_dir: str | None, as_json: bool) -> None:
    """Make the previous release current, and the current one previous; a second time returns.

    What was current is withdrawn: `ectools netboot stage` leaves it aside from now on, until a rollback leads
    to it again or --accept-withdrawn says so.
    """
    from ectools.netboot.release.rollback import roll_back
    from ectools.netboot.release.store import ReleaseStore

    settings = load_state(config, state_dir)
    done = roll_back(ReleaseStore(settings.state_dir))
    if as_json:
        click.echo(json.dumps({"current": done.current.id, "previous": done.previous}))
    else:
        click.echo(f"{done.current.title}: current now, in place of {done.previous}")


COMMAND = rollback
