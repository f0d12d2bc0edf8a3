"""``ectools fleet status|hold|release|boot-once|add|remove``: what nodes do, and what they are told to."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from ectools.cli.fleet_looks import Looks
from ectools.cli.fleet_socket import open_client, socket_option
from ectools.cli.param_types import Seconds

if TYPE_CHECKING:
    from pathlib import Path

# As ONCE_TARGETS of ectools.netboot.fleet.override, which takes its time to load.
_TARGETS = ("network", "disk", "install")


@click.command(epilog="Example: ectools fleet status --group runners --wait --timeout 900")
@click.option("--group", metavar="GROUP", help="The nodes of one group alone.")
@click.option("--wait", is_flag=True, help="Wait until all are on their release and healthy.")
@click.option("--timeout", type=Seconds(min=0), metavar="SECONDS", help="With --wait: for so long at most.")
@socket_option
@click.option("--json", "as_json", is_flag=True, help="Print an array of nodes.")
def status(*, group: str | None, wait: bool, timeout: float | None, sock: Path | None, as_json: bool) -> int:
    """Show one row for each node: its release, since when, and its stage or state.

    The exit status is 0 where all nodes are on their release and healthy, and 1 otherwise, also where no node
    is of the group. Of those that are held or boot from their disk nothing is expected. Machines without a
    name come last, and do not count. On stderr is what is not as it was said to be: nodes that were added and
    are left out, and settings that could not be used.
    """
    from ectools.cli.fleet_text import draw_rows, list_notices, summarize_rows
    from ectools.log import use_colour

    looks, client = Looks(timeout, waits=wait), open_client(sock)
    answer: dict[str, Any] = {}

    def look() -> list[dict[str, Any]]:
        nonlocal answer
        answer = client.get("nodes")
        return [row for row in answer["nodes"] if group in (None, row["group"])]

    def are_done(rows: list[dict[str, Any]]) -> bool:
        return all(row["on_release"] is not False for row in rows if row["known"])

    rows = looks.look_until(look, is_done=are_done, summarize=summarize_rows)
    if group is not None and not rows:
        click.echo(f"no node is of the group {group}", err=True)
    if as_json:
        click.echo(json.dumps(rows))
    else:
        for drawn in draw_rows(rows, now=answer["now"], colour=use_colour(sys.stdout)):
            click.echo(drawn)
        click.echo(summarize_rows(rows), err=True)
        for line in list_notices(answer, group):
            click.echo(line, err=True)
    return 0 if are_done(rows) and (rows or group is None) else 1


@click.command(epilog="Example: ectools fleet hold nuc-07 --why 'memory is replaced'")
@click.argument("name", metavar="NODE")
@click.option("--why", metavar="TEXT", help="What others are to know of it.")
@socket_option
def hold(*, name: str, why: str | None, sock: Path | None) -> None:
    """Have a node boot nothing until it is released: it waits, and asks again."""
    from ectools.netboot.fleet.override import check_why

    if why is not None:
        check_why(why)
    open_client(sock).post("nodes", name, "hold", body={} if why is None else {"why": why})
    click.echo(f"{name}: held", err=True)


@click.command(epilog="Example: ectools fleet release nuc-07")
@click.argument("name", metavar="NODE")
@socket_option
def release(*, name: str, sock: Path | None) -> None:
    """Have a node boot what the fleet says again: this undoes hold and boot-once."""
    row = open_client(sock).post("nodes", name, "release")
    if row["next"] is None:
        click.echo(f"{name}: forgotten; the fleet has no such node any more", err=True)
        return
    click.echo(f"{name}: released; it boots: {_describe_next(row)}", err=True)


@click.command("boot-once", epilog="Example: ectools fleet boot-once nuc-07 --release boot-v2026.03.02")
@click.argument("name", metavar="NODE")
@click.argument("target", metavar="[TARGET]", type=click.Choice(_TARGETS), required=False)
@click.option("--disk", is_flag=True, help="What its firmware finds next, in place of the network.")
@click.option("--release", "wanted", metavar="RELEASE", help="A release: its tag, or its id.")
@socket_option
def boot_once(*, name: str, target: str | None, disk: bool, wanted: str | None, sock: Path | None) -> None:
    """Have a node boot something else at its next boot only, even if it is held.

    TARGET is network, which is the default, disk, or install: the release is booted, and installs what the
    fleet says (`install`) on the node's disk. That is over once the disk boots, however often it is tried.
    """
    if disk and target not in (None, "disk"):
        raise click.UsageError(f"--disk and {target} exclude each other")
    if disk and wanted is not None:
        raise click.UsageError("--disk and --release exclude each other")
    body: dict[str, Any] = {"boot": "disk" if disk else target or "network"}
    if wanted is not None:
        body["release"] = wanted
    row = open_client(sock).post("nodes", name, "boot-once", body=body)
    click.echo(f"{name}: boots once: {_describe_next(row)}", err=True)


@click.command(epilog="Example: ectools fleet add nuc-09 --group runners --mac 02:00:00:12:34:59")
@click.argument("name", metavar="NODE")
@click.option("--group", metavar="GROUP", help="Its group.")
@click.option(
    "--mac", "macs", multiple=True, metavar="MAC", help="An address of one of its NICs. Repeatable."
)
@click.option("--uuid", metavar="UUID", help="Its UUID.")
@click.option("--serial", metavar="TEXT", help="Its serial number.")
@click.option("--asset", metavar="TEXT", help="Its asset tag.")
@click.option(
    "--kernel-argument", "arguments", multiple=True, metavar="WORD", help="Of its kernel. Repeatable."
)
@socket_option
def add(
    *,
    name: str,
    group: str | None,
    macs: tuple[str, ...],
    uuid: str | None,
    serial: str | None,
    asset: str | None,
    arguments: tuple[str, ...],
    sock: Path | None,
) -> None:
    """Name a machine: from its next request on, it boots what its group boots.

    The boot server remembers it beside the settings and the fleet file, which go first.
    """
    match: dict[str, Any] = {"mac": list(macs)} if macs else {}
    match |= {
        kind: value
        for kind, value in (("uuid", uuid), ("serial", serial), ("asset", asset))
        if value is not None
    }
    node: dict[str, Any] = {"match": match}
    if group is not None:
        node["group"] = group
    if arguments:
        node["kernelArguments"] = list(arguments)
    row = open_client(sock).post("nodes", body={"name": name, "node": node})
    click.echo(f"{name}: added; it boots: {_describe_next(row)}", err=True)


@click.command(epilog="Example: ectools fleet remove nuc-09")
@click.argument("name", metavar="NODE")
@socket_option
def remove(*, name: str, sock: Path | None) -> None:
    """Forget a node that was added, and everything that was set for it."""
    open_client(sock).delete("nodes", name)
    click.echo(f"{name}: removed", err=True)


def _describe_next(row: dict[str, Any]) -> str:
    from ectools.cli.fleet_text import describe_next

    return describe_next(row)


NODE_COMMANDS = (status, add, remove, hold, release, boot_once)
