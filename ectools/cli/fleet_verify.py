"""``ectools fleet verify``: what is known of each node's system, and how well."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ectools.cli.fleet_socket import open_client, socket_option

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ectools.netboot.api.verification import NodeVerification

_FILE = click.Path(path_type=Path)
# As the values of Knowledge, which takes its time to load.
_LEVELS = ("reported", "rebuilt")


@click.command(epilog="Example: ectools fleet verify --rebuilt-by builder.pub rebuilt-*.jsonl")
@click.argument("statements", metavar="[FILE]...", nargs=-1, type=_FILE)
@click.option(
    "--rebuilt-by",
    "keys",
    metavar="KEY.pub",
    multiple=True,
    type=_FILE,
    help="A public key whose owner's statements are trusted. Repeatable.",
)
@click.option(
    "--require",
    type=click.Choice(_LEVELS),
    help="What has to be known of each node.  [default: rebuilt with --rebuilt-by, else reported]",
)
@click.option("--group", metavar="GROUP", help="The nodes of one group alone.")
@socket_option
@click.option("--json", "as_json", is_flag=True, help="Print {required, verified, nodes, rebuilt}.")
def verify(
    *,
    statements: tuple[Path, ...],
    keys: tuple[Path, ...],
    require: str | None,
    group: str | None,
    sock: Path | None,
    as_json: bool,
) -> int:
    """Show which system each node runs, and how well that is known.

    "reported": the node has said it, and it is what the boot server gave it. "rebuilt": that system was built
    again from its source on another machine, whose owner has signed that; FILE is such a statement, of
    `ectools verify-closure --sign`. "contradicted": the node says that it runs something else.

    The exit status is 0 where as much is known of every node as is required, and 1 otherwise. Of those that
    are held or boot from their disk nothing is expected, but that they contradict nothing.
    """
    from ectools.netboot.api.verification import Knowledge, verify_node

    if bool(statements) is not bool(keys):
        raise click.UsageError(
            "--rebuilt-by and statements go together: who is trusted, and what they signed"
        )
    trusted = [_describe(path, found) for path, found in _open_all(statements, keys)]
    rebuilt: dict[str, list[str]] = {}
    for each in trusted:
        rebuilt.setdefault(each["system"], []).append(each["by"])
    client = open_client(sock)
    rows = [row for row in client.get("nodes")["nodes"] if row["known"] and group in (None, row["group"])]
    found = [
        verify_node(row, None if row["boot"] is None else client.get("boots", row["boot"]), rebuilt)
        for row in rows
    ]
    required = Knowledge(require or ("rebuilt" if keys else "reported"))
    is_verified = all(each.is_enough(required) for each in found)
    if as_json:
        nodes = [each.show_json() for each in found]
        shown = {"required": required.value, "verified": is_verified, "nodes": nodes, "rebuilt": trusted}
        click.echo(json.dumps(shown))
    else:
        for line in _draw(found):
            click.echo(line)
        click.echo(_summarize(found, required), err=True)
    return 0 if is_verified else 1


def _open_all(statements: Sequence[Path], keys: Sequence[Path]) -> Iterator[tuple[Path, Any]]:
    """Each statement, and who has signed it: a key's file, and what it says. Raises SignatureError."""
    from ectools.files import read_input
    from ectools.netboot.publishing.rebuilt import MAX_STATEMENT_BYTES, find_key_format, open_rebuilt
    from ectools.netboot.signature import MAX_KEY_BYTES, SignatureError

    public = {}
    for key in keys:
        public[key] = read_input(key, limit=MAX_KEY_BYTES)
        try:
            find_key_format(public[key])
        except SignatureError as error:
            raise SignatureError(f"{key}: {error.message}", hint=error.hint) from error
    for path in statements:
        data = read_input(path, limit=MAX_STATEMENT_BYTES)
        refused = None
        for key, content in public.items():
            try:
                yield path, (key, open_rebuilt(data, public_key=content, where=str(path)))
                break
            except SignatureError as error:
                refused = error
        else:
            raise SignatureError(
                f"{path}: is signed by none of the keys that are trusted",
                hint="--rebuilt-by names the public key of the machine that has built it",
            ) from refused


def _describe(path: Path, found: Any) -> dict[str, Any]:
    key, system = found
    return {
        "system": system.system,
        "by": str(key),
        "file": str(path),
        "flake": system.flake,
        "configuration": system.configuration,
        "paths": len(system.hashes),
        "at": system.at,
    }


def _draw(found: Sequence[NodeVerification]) -> Iterator[str]:
    from ectools.cli.fleet_text import show_text

    table = [("NODE", "KNOWN", "SYSTEM")]
    for each in found:
        said = [] if each.system is None else [show_text(each.system)]
        if each.rebuilt_by:
            said.append(f"by {', '.join(each.rebuilt_by)}")
        if each.why is not None:
            said.append(show_text(each.why))
        if not each.counts:
            said.append("nothing is expected of it")
        table.append((show_text(each.name), each.knowledge.value, "; ".join(said)))
    widths = [max(len(line[column]) for line in table) for column in range(2)]
    for name, known, system in table:
        yield f"{name:{widths[0]}}  {known:{widths[1]}}  {system}".rstrip()


def _summarize(found: Sequence[NodeVerification], required: Any) -> str:
    missing = [each for each in found if not each.is_enough(required)]
    nodes = "1 node" if len(found) == 1 else f"{len(found)} nodes"
    if not missing:
        return f"{nodes}, each {required.value} or better, as far as something is expected of it"
    return f"{nodes}; not {required.value}: {len(missing)}"


VERIFY_COMMANDS = (verify,)
