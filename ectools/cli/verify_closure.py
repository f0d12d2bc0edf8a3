"""``ectools verify-closure``: whether this system is the one that its flake describes."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ectools.checks.closure import (
    Closure,
    ClosureSource,
    Comparison,
    compare_closures,
    find_damaged,
    read_running,
    rebuild_closure,
)
from ectools.checks.closure_published import read_published
from ectools.cli.param_types import OVERRIDE_INPUT
from ectools.files import read_bytes
from ectools.nixpkgs import find_nixpkgs

_FLAKE = "/etc/every-channel/flake"
_NAME = Path("/etc/every-channel/configuration")


@click.command(
    "verify-closure",
    epilog="Example: ectools verify-closure ec-runner-x86_64-netboot --published ./boot-v2026.03.02.tar.gz",
)
@click.argument("name", required=False)
@click.option("--flake", metavar="REF", default=_FLAKE, show_default=True, help="The flake to build from.")
@click.option(
    "--published",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="Compare with a release's directory or archive, or with a list of store paths, not with what runs.",
)
@click.option(
    "--system",
    metavar="PATH",
    type=click.Path(path_type=Path),
    default=Path("/run/current-system"),
    show_default=True,
    help="What runs.",
)
@click.option("--contents", is_flag=True, help="Read the system's store paths too, and check their hashes.")
@click.option("--nixpkgs", metavar="PATH", help="Replace the flake's input nixpkgs.")
@OVERRIDE_INPUT
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def verify_closure(
    *,
    name: str | None,
    flake: str,
    published: Path | None,
    system: Path,
    contents: bool,
    nixpkgs: str | None,
    inputs: tuple[tuple[str, str], ...],
    as_json: bool,
) -> int:
    """Build the nixosConfiguration NAME of a flake, and compare its store paths with those of what runs.

    NAME is by default what /etc/every-channel/configuration says. Exit 0: they are the same; 1: they differ.
    What is "added" is in the compared system and not in the rebuilt one, "removed" the other way round;
    "changed" has one name and several hashes.
    """
    if name is None:
        if not _NAME.is_file():
            raise click.UsageError(f"name the nixosConfiguration: there is no {_NAME} to take it from")
        name = read_bytes(_NAME).decode("utf-8", "replace").strip()
    if contents and published is not None:
        raise click.UsageError("--contents reads this machine's store, and does not go with --published")
    overrides = dict(inputs)
    if nixpkgs is not None:
        overrides["nixpkgs"] = f"path:{find_nixpkgs(nixpkgs)}"
    # What can be read at once is read before what may build for an hour.
    other = read_running(system) if published is None else read_published(published, name)
    comparison = compare_closures(rebuild_closure(flake, name, override_inputs=overrides), other)
    damaged = find_damaged(other) if contents else None
    if as_json:
        shown = comparison.show_json() | ({} if damaged is None else {"damaged": list(damaged)})
        click.echo(json.dumps(shown, indent=2))
    else:
        _print(comparison, damaged)
    return 0 if comparison.same and not damaged else 1


def _print(comparison: Comparison, damaged: tuple[str, ...] | None) -> None:
    other = comparison.other
    for closure in (comparison.rebuilt, other):
        click.echo(_describe(closure))
    for change in comparison.changed:
        click.echo(f"changed {change.name}")
        for origin, paths in ((ClosureSource.REBUILT, change.rebuilt), (other.origin, change.other)):
            for path in paths:
                click.echo(f"  {origin + ':':<10} {path}")
    for word, paths in (("added", comparison.added), ("removed", comparison.removed)):
        for path in paths:
            click.echo(f"{word} {path}")
    for path in damaged or ():
        click.echo(f"damaged {path}")
    if comparison.same:
        click.echo("the same")
    elif other.paths is None:
        click.echo("they differ; in which paths, a release without closure.txt does not tell")
    else:
        click.echo(
            f"they differ: {len(comparison.changed)} changed, {len(comparison.added)} added,"
            f" {len(comparison.removed)} removed"
        )


def _describe(closure: Closure) -> str:
    count = "" if closure.paths is None else f", {len(closure.paths)} store paths"
    return f"{closure.origin + ':':<10} {closure.toplevel or 'a listing'}{count} ({closure.source})"


COMMAND = verify_closure
