"""``ectools fleet``: machines known by name, checked and explained before any of them boots."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ectools.cli import fleet_history, fleet_nodes, fleet_verify
from ectools.cli.fleet_socket import CONTROL_SOCKET, socket_option
from ectools.cli.lazy import CommandGroup
from ectools.cli.netboot.state import load_given
from ectools.errors import EcError, InputError, ProblemsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ectools.netboot.fleet.difference import NodeChange
    from ectools.netboot.fleet.model import Fleet
    from ectools.netboot.release.manifest import Release, System

_FILE = click.Path(path_type=Path)
FLEET_FILE = Path("fleet.toml")
"""The fleet file of the directory in which somebody works, where the settings name none."""
EXAMPLE_FILE = Path("examples/fleet.toml")
"""The one to look at in a checkout of the project, where there is no other."""


@click.group(
    cls=CommandGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: ectools fleet check fleet.toml",
)
def fleet() -> None:
    """Machines by name: what each of them boots, and why."""


@fleet.command(epilog="Example: ectools fleet check fleet.toml")
@click.argument("files", nargs=-1, required=True, type=_FILE)
@click.option(
    "--config",
    type=_FILE,
    metavar="FILE",
    help="The boot server's settings: warn of what it has not staged, too.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print an array: of each file {file, groups, nodes, warnings}, or {file, error, hint, problems}.",
)
def check(*, files: tuple[Path, ...], config: Path | None, as_json: bool) -> int:
    """Check fleet files, each by itself, and print every problem with its line and column.

    A node's group has to be in its file; what two nodes are known by is an error. What cannot do what
    somebody may have wanted is a warning. The exit status is 0 where all can be used, 1 where one has a
    problem, be it in its syntax, and 2 where one is not there or may not be read.
    """
    from ectools.netboot.fleet.load import load_fleet
    from ectools.netboot.fleet.warnings import list_warnings

    list_missing = None if config is None else _look_at_staged(config)
    found: list[dict[str, Any]] = []
    status = 0
    for file in files:
        try:
            read = load_fleet(file)
        except EcError as error:
            click.echo(error.render(), err=True)
            status = max(status, _rate(error))
            found.append({"file": str(file), **_describe_error(error)})
            continue
        warnings = [*list_warnings(read), *(list_missing(read) if list_missing is not None else ())]
        for warning in warnings:
            click.echo(f"{file}: warning: {warning}", err=True)
        counts = {"groups": len(read.groups), "nodes": len(read.nodes)}
        found.append({"file": str(file), **counts, "warnings": warnings})
        if not as_json:
            click.echo(f"{file}: {_count(read.groups, 'group')}, {_count(read.nodes, 'node')}")
    if as_json:
        click.echo(json.dumps(found))
    return status


@fleet.command(epilog="Example: ectools fleet show nuc-07 --fleet fleet.toml")
@click.argument("name", metavar="NODE")
@click.option("--fleet", "file", type=_FILE, metavar="FILE", help="A fleet file.  [default: as said above]")
@click.option("--config", type=_FILE, metavar="FILE", help="The boot server's settings.")
@socket_option
@click.option("--json", "as_json", is_flag=True, help="Print what it boots as an object.")
def show(*, name: str, file: Path | None, config: Path | None, sock: Path | None, as_json: bool) -> None:
    """Show what a node would boot now, and which option, or who, decided that.

    The boot server of this machine is asked, where one runs. --fleet or --config names a fleet that none
    serves yet; without a server and without them, it is that of the settings on this machine, of fleet.toml
    in the current directory, or of the example there, in examples/fleet.toml: stderr says which.
    """
    named = {"--fleet": file, "--config": config, "--socket": sock}
    given = [option for option, value in named.items() if value is not None]
    if len(given) > 1:
        raise click.UsageError(f"{given[0]} and {given[1]} exclude each other: each names a fleet")
    found = _find_node(name, file, config, sock, as_json=as_json)
    if as_json:
        click.echo(json.dumps(found))
        return
    rows = [("node", name, ""), *(("match", key, "") for key in found["match"]), *_list_rows(found)]
    width = max(len(title) for title, _, _ in rows)
    for title, value, origin in rows:
        click.echo(f"{title:{width}}  {value}" + (f"   ({origin})" if origin else ""))


@fleet.command(epilog="Example: ectools fleet diff fleet.toml fleet-next.toml")
@click.argument("old", type=_FILE)
@click.argument("new", type=_FILE)
@click.option("--json", "as_json", is_flag=True, help="Print an array of changes.")
def diff(*, old: Path, new: Path, as_json: bool) -> None:
    """Show which nodes would boot something else with another fleet file, and what."""
    from ectools.netboot.fleet.difference import find_differences
    from ectools.netboot.fleet.load import load_fleet

    changes = list(find_differences(load_fleet(old), load_fleet(new)))
    if as_json:
        click.echo(json.dumps([_describe_change(change) for change in changes]))
        return
    for change in changes:
        mark = "+" if change.before is None else "-" if change.after is None else "~"
        click.echo(f"{mark} {change.name}")
        for title, (before, after) in change.values.items():
            click.echo(f"    {_TITLES[title]}: {_show(title, before)} → {_show(title, after)}")
        lost, won = change.keys
        if lost or won:
            click.echo(
                f"    known by: {', '.join([*(f'-{key}' for key in lost), *(f'+{key}' for key in won)])}"
            )
    click.echo(f"{_count(changes, 'change')}", err=True)


_TITLES = {
    "boot": "boot",
    "system": "system",
    "release": "release",
    "boot_binary": "bootBinary",
    "kernel_arguments": "kernelArguments",
    "healthy_within": "healthyWithin",
    "health_units": "healthUnits",
    "refused": "refused",
    "install": "install",
    "installs": "installs",
}
_SHOWN = ("boot", "system", "release", "boot_binary", "kernel_arguments", "healthy_within", "health_units")
_NOTHING = {
    "system": "the one for its architecture",
    "release": "the current one",
    "boot_binary": "the one that all machines get",
    "kernel_arguments": "none beside the release's",
    "health_units": "boot-complete.target alone",
    "install": "nothing",
    "installs": "the only one that its release has",
}


def _look_at_staged(config: Path) -> Callable[[Fleet], Iterable[str]]:
    """What is said of a fleet's releases, of those that the boot server of these settings has staged."""
    from ectools.netboot.release.fleet_needs import list_missing
    from ectools.netboot.release.installed_systems import find_root
    from ectools.netboot.release.store import ReleaseStore
    from ectools.netboot.release.tags import ReleaseTags

    store = ReleaseStore(load_given(config, None).state_dir)
    tags = ReleaseTags(store)

    def find(wanted: str | None) -> Release | None:
        if wanted is None:
            return store.find_current()
        release_id = tags.find_id(wanted)
        return None if release_id is None else store.find(release_id)

    def find_installed(release: Release, system: System, wanted: str | None) -> str:
        return find_root(store.directory(release.id), release, system, wanted)

    return lambda read: list_missing(read, find, find_installed=find_installed)


def _find_node(
    name: str, file: Path | None, config: Path | None, sock: Path | None, *, as_json: bool
) -> dict[str, Any]:
    """What a node boots, as an object: of the running server, or of a fleet file. Raises InputError."""
    from ectools.netboot.api.client import FleetClient, NoRightError, NoServerError
    from ectools.netboot.fleet.assignment import assign, describe_assignment
    from ectools.netboot.fleet.machine import list_keys
    from ectools.suggest import did_you_mean

    if file is None and config is None:
        try:
            found = FleetClient(sock or CONTROL_SOCKET).get("nodes", name)
        except (NoServerError, NoRightError) as error:
            if sock is not None:
                raise
            if isinstance(error, NoRightError):
                click.echo(f"the boot server is not asked: {error.render()}", err=True)
        else:
            told = {"node": name, "match": found["match"], **(found["assignment"] or {})}
            return told if as_json else {**told, "release": _name_release(found)}
    read = _load(file, config)
    node = read.nodes.get(name)
    if node is None:
        known = did_you_mean(name, read.nodes) or f"the fleet has {_count(read.nodes, 'node')}"
        raise InputError(f"{name}: the fleet has no such node", hint=known)
    keys = [f"{kind} {value}" for kind, value in list_keys(node.match)]
    return {"node": name, "match": keys, **describe_assignment(assign(read, node))}


def _name_release(row: dict[str, Any]) -> str | None:
    """The release that a node is assigned; where that is said by its id, with its tag before."""
    wanted = None if row["assignment"] is None else row["assignment"].get("release")
    staged = None if row["next"] is None else row["next"]["release"]
    if wanted is None or staged is None or staged["id"] != wanted or not staged["tag"]:
        return wanted
    return f"{staged['tag']}, {wanted}"


def _load(file: Path | None, config: Path | None) -> Fleet:
    """The fleet that was named, or that of this machine. Raises InputError where there is none."""
    from ectools.netboot.fleet.load import load_fleet, load_whole

    if file is not None:
        return load_fleet(file)
    settings = load_given(config, None).fleet
    found = load_whole(settings.part, settings.file)
    if config is not None:
        return found
    if found.nodes:
        click.echo("no boot server was asked: the fleet is that of the settings", err=True)
        return found
    for each in (FLEET_FILE, EXAMPLE_FILE):
        if each.exists():
            what = (
                "the example's, as there is no other here"
                if each is EXAMPLE_FILE
                else "that of this directory"
            )
            click.echo(f"no boot server was asked: the fleet is {what}: {each}", err=True)
            return load_fleet(each)
    raise InputError(
        "there is no fleet: no boot server runs, the settings have no nodes, and there is no fleet.toml here",
        hint="--fleet FILE names one",
    )


def _list_rows(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    if "boot" not in found:
        return [("boots", "what a machine boots that no node is", "unknown")]
    rows = [("group", found["group"] or "none", "")]
    for title in _SHOWN:
        name = _TITLES[title]
        rows.append((name, _show(title, found[name]), found["origins"].get(name, "")))
    for name in ("install", "installs"):
        if name in found:
            rows.append((name, _show(name, found[name]), found["origins"].get(name, "")))
    return rows


def _show(title: str, value: Any) -> str:
    if value in (None, (), []):
        return _NOTHING[title]
    if isinstance(value, dict):
        flat = {**value, **{f"disk.{name}": each for name, each in value["disk"].items()}}
        del flat["disk"]
        return " ".join(f"{name}={json.dumps(each)}" for name, each in flat.items() if each is not None)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(value) if isinstance(value, tuple | list) else str(value)


def _describe_change(change: NodeChange) -> dict[str, Any]:
    values = {_TITLES[title]: list(pair) for title, pair in change.values.items()}
    kind = "added" if change.before is None else "removed" if change.after is None else "changed"
    return {
        "node": change.name,
        "kind": kind,
        "values": values,
        "lost": change.keys[0],
        "won": change.keys[1],
    }


def _describe_error(error: EcError) -> dict[str, Any]:
    """As the API answers it."""
    problems = [each.render() for each in error.problems] if isinstance(error, ProblemsError) else []
    return {"error": error.message, "hint": error.hint, "problems": problems}


def _rate(error: EcError) -> int:
    """1 for a file that has problems, 2 for one that is not there or may not be read."""
    return 1 if isinstance(error, ProblemsError) else 2


def _count(items: Any, what: str) -> str:
    return f"1 {what}" if len(items) == 1 else f"{len(items)} {what}s"


for _command in (
    *fleet_nodes.NODE_COMMANDS,
    *fleet_history.HISTORY_COMMANDS,
    *fleet_verify.VERIFY_COMMANDS,
):
    fleet.add_command(_command)

COMMAND = fleet
