"""``ectools rollout``: a group of nodes, led from one release to the next by waves, and back by itself."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from ectools.cli.fleet_looks import Looks
from ectools.cli.fleet_socket import open_client, socket_option
from ectools.cli.lazy import CommandGroup
from ectools.cli.param_types import Seconds

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


_BACK = ("stopped", "aborted")
_ENDS = ("done", *_BACK)


class _Waves(click.ParamType[list[float]]):
    """``5%,25%,100%``: percentages that grow to 100."""

    name = "waves"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[float]:
        if isinstance(value, list):
            return value
        try:
            return [float(each.strip().removesuffix("%")) for each in value.split(",")]
        except ValueError:
            self.fail(f"{value!r}: percentages were expected, as 5%,25%,100%", param, ctx)


@click.group(cls=CommandGroup, epilog="Example: ectools rollout start boot-v2026.03.02 --group runners")
def rollout() -> None:
    """Lead a group's nodes from one release to the next by waves.

    A wave opens when all who were given the release have reported that they are healthy. Where too many fail,
    all go back at their next boot, and the release is withdrawn.
    """


@rollout.command(epilog="Example: ectools rollout start boot-v2026.03.02 --group runners --canary 2")
@click.argument("release", metavar="RELEASE")
@click.option("--group", required=True, metavar="GROUP", help="Whose nodes.")
@click.option(
    "--canary", type=click.IntRange(min=1), default=1, show_default=True, help="Nodes that get it first."
)
@click.option(
    "--waves",
    type=_Waves(),
    default="5%,25%,100%",
    show_default=True,
    metavar="P%,...,100%",
    help="How much of the group has it after each wave.",
)
@click.option(
    "--max-failures",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="So many nodes may fail; one more stops it.",
)
@click.option(
    "--within",
    type=Seconds(min=1),
    metavar="SECONDS",
    help="In which a node has to report.  [default: the group's healthyWithin]",
)
@click.option(
    "--off-after",
    type=Seconds(min=1),
    metavar="SECONDS",
    help="Not heard of for so long, a node is off, and holds no wave up.  [default: a day]",
)
@click.option(
    "--unstaged-hosts",
    is_flag=True,
    help="Start where another boot host has not staged the release, too: who asks there is not led on.",
)
@socket_option
def start(
    *,
    release: str,
    group: str,
    canary: int,
    waves: list[float],
    max_failures: int,
    within: float | None,
    off_after: float | None,
    unstaged_hosts: bool,
    sock: Path | None,
) -> None:
    """Give RELEASE, a tag or an id, to the nodes of a group as they boot: a few, then more, then all.

    Who asks first gets it first. The group should name the release that it boots now (groups.GROUP.release),
    so that staging another one does not give it to all of them.
    """
    body: dict[str, Any] = {"release": release, "group": group, "canary": canary, "waves": waves}
    body["max_failures"] = max_failures
    if unstaged_hosts:
        body["unstaged_hosts"] = True
    body |= {name: each for name, each in (("within", within), ("off_after", off_after)) if each is not None}
    found = open_client(sock).post("rollouts", body=body)
    counts = ", ".join(map(str, found["waves"]))
    click.echo(f"{group}: {_name(found['release'])} goes to {counts} of {found['nodes']} nodes", err=True)


@rollout.command(epilog="Example: ectools rollout status runners --wait")
@click.argument("group", required=False)
@click.option("--wait", is_flag=True, help="Wait until it has ended.")
@click.option("--timeout", type=Seconds(min=0), metavar="SECONDS", help="With --wait: so long at most.")
@socket_option
@click.option("--json", "as_json", is_flag=True, help="Print an array of rollouts.")
def status(*, group: str | None, wait: bool, timeout: float | None, sock: Path | None, as_json: bool) -> int:
    """Show the rollouts: which nodes have the release, are awaited or have failed, and why one has stopped.

    The exit status is 1 where one was stopped or ended by somebody, or --timeout is over; else 0.
    """
    looks, client = Looks(timeout, waits=wait), open_client(sock)

    def look() -> list[dict[str, Any]]:
        found = [each for each in client.get("rollouts")["rollouts"] if group in (None, each["group"])]
        if group is not None and not found:
            client.get("rollouts", group)  # which says what is wrong
        return found

    def are_over(found: list[dict[str, Any]]) -> bool:
        return all(each["state"] in _ENDS for each in found)

    found = looks.look_until(
        look, is_done=are_over, summarize=lambda found: "; ".join(map(_summarize, found))
    )
    if as_json:
        click.echo(json.dumps(found))
    else:
        for each in found:
            _draw(each)
    if not found:
        click.echo("there is no rollout", err=True)
    failed = any(each["state"] in _BACK for each in found)
    return 1 if failed or (wait and not are_over(found)) else 0


def _turn(name: str, words: str, told: str) -> click.Command:
    @click.command(name, help=words)
    @click.argument("group")
    @socket_option
    def turn(*, group: str, sock: Path | None) -> None:
        found = open_client(sock).post("rollouts", group, name)
        click.echo(f"{group}: {_name(found['release'])}: {told}", err=True)

    return turn


for _each in (
    _turn("pause", "Give the release to no more nodes; those that have it keep it.", "paused"),
    _turn("resume", "Go on where it was paused.", "goes on"),
    _turn("abort", "End it: all go back to the release before at their next boot.", "ended; all go back"),
):
    rollout.add_command(_each)


def _name(release: Mapping[str, Any]) -> str:
    return str(release["tag"] or release["id"])


def _summarize(found: Mapping[str, Any]) -> str:
    # The group, and with it a wave's size, is another after the end: what is told then was so at the end.
    quota, is_over = found["waves"][found["wave"]], found["state"] in _ENDS
    has_it = f"at its end {found['taken']} had it" if is_over else f"{found['taken']} of {quota} have it"
    parts = [has_it, f"{len(found['healthy'])} healthy"]
    if found["under_way"]:
        parts.append(f"{len(found['under_way'])} under way")
    if found["failed"]:
        parts.append(f"{len(found['failed'])} failed")
    wave = "canaries" if found["wave"] == 0 else f"wave {found['wave']} of {len(found['waves']) - 1}"
    return f"{found['group']}: {_name(found['release'])}: {found['state']}, {wave}: {', '.join(parts)}"


def _draw(found: Mapping[str, Any]) -> None:
    from ectools.cli.fleet_text import show_text
    from ectools.errors import show_list
    from ectools.log import use_colour

    colour = {"done": "green", "running": "cyan", "paused": "yellow"}.get(found["state"], "red")
    line = show_text(_summarize(found))
    click.echo(click.style(line, fg=colour) if use_colour(sys.stdout) else line)
    if found["why"]:
        click.echo(f"  {show_text(found['why'])}")
    for title, key in (("under way", "under_way"), ("awaited", "awaited")):
        if found[key]:
            click.echo(f"  {title}: {show_text(show_list(found[key]))}")
    for each in found["failed"]:
        click.echo(f"  failed: {show_text(each['node'])}: {show_text(each['why'])}")
    later = found.get("later", {"came": [], "failed": []})  # a boot server of before does not say it
    if later["came"]:
        click.echo(f"  given it since its end: {show_text(show_list(later['came']))}")
    for each in later["failed"]:
        click.echo(f"  failed since its end: {show_text(each['node'])}: {show_text(each['why'])}")


COMMAND = rollout
