"""``ectools fleet boots|log|hosts``: a node's boots, what was done to the fleet, and which hosts serve it."""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from ectools.cli.fleet_looks import Looks
from ectools.cli.fleet_socket import open_client, socket_option

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_AT_ONCE = 1000


@click.command(epilog="Example: ectools fleet boots nuc-07")
@click.argument("name", metavar="NODE")
@click.option(
    "--limit", type=click.IntRange(1, 200), default=10, metavar="N", help="So many at most.  [default: 10]"
)
@socket_option
@click.option("--json", "as_json", is_flag=True, help="Print an array of boots.")
def boots(*, name: str, limit: int, sock: Path | None, as_json: bool) -> None:
    """Show a node's boots, the newest first: each a strip of its stages, with their seconds.

    NODE may be what a machine without a name is known by: 'mac 02:00:00:12:34:56'.
    """
    from ectools.cli.fleet_text import draw_boot
    from ectools.log import use_colour

    found = open_client(sock).get("nodes", name, "boots", limit=limit)["boots"]
    if as_json:
        click.echo(json.dumps(found))
        return
    colour = use_colour(sys.stdout)
    for boot in found:
        for line in draw_boot(boot, colour=colour):
            click.echo(line)
    if not found:
        click.echo(f"{name}: has not booted yet", err=True)


@click.command(epilog="Example: ectools fleet log --follow")
@click.option("--follow", is_flag=True, help="Go on with what happens, until interrupted.")
@click.option(
    "--after", type=click.IntRange(min=0), default=0, metavar="N", help="Only what came after number N."
)
@socket_option
@click.option("--json", "as_json", is_flag=True, help="Print an object a line.")
def log(*, follow: bool, after: int, sock: Path | None, as_json: bool) -> None:
    """Show what was done to the fleet, and by whom, the oldest first, as far back as is kept.

    Where some of what came after N is remembered no more, that is said on stderr.
    """
    from ectools.cli.fleet_text import draw_event

    client, looks = open_client(sock), Looks()
    while True:
        events = looks.ask(partial(client.get, "log", after=after, limit=_AT_ONCE))["events"]
        if events and 0 < after < events[0]["sequence"] - 1:
            first, last = after + 1, events[0]["sequence"] - 1
            click.echo(f"numbers {first} to {last} are remembered no more", err=True)
        for event in events:
            click.echo(json.dumps(event) if as_json else draw_event(event))
            after = event["sequence"]
        if len(events) == _AT_ONCE:
            continue
        if not follow:
            return
        sys.stdout.flush()
        looks.rest()


@click.command(epilog="Example: ectools fleet hosts")
@socket_option
@click.option("--json", "as_json", is_flag=True, help="Print an array of boot hosts.")
def hosts(*, sock: Path | None, as_json: bool) -> int:
    """Show the boot hosts that share a state: what each serves, and when it was last heard of.

    CLOCK holds a host's own clock against that of NATS, by which all of them go: more than some seconds ahead
    or behind is for NTP to mend. BEHIND is how much of what a host has written the others do not have yet.
    Below are the releases that groups are to boot and a host has not staged: nodes that ask there get what
    they ran before, or wait. The exit status is 0 where all are up and none is behind or lacks one, else 1.
    """
    from ectools.cli.fleet_text import draw_hosts

    answer = open_client(sock).get("hosts")
    if as_json:
        click.echo(json.dumps(answer["hosts"]))
    else:
        for line in draw_hosts(answer["hosts"], now=answer["now"]):
            click.echo(line)
    return 0 if all(map(_is_well, answer["hosts"])) else 1


def _is_well(host: Mapping[str, Any]) -> bool:
    # A boot server of before does not say what a host lacks.
    return host["up"] and not host["behind"] and not host.get("lacks")


HISTORY_COMMANDS = (boots, log, hosts)
