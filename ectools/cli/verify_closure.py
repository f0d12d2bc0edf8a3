"""``ectools verify-closure``: whether this system is the one that its flake describes."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from ectools.checks.closure import (
    Closure,
    ClosureSource,
    Comparison,
    compare_closures,
    find_damaged,
    read_hashes,
    read_running,
    rebuild_closure,
)
from ectools.checks.closure_published import read_published
from ectools.cli.param_types import OVERRIDE_INPUT
from ectools.files import read_bytes, write_atomic
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
@click.option(
    "--sign",
    "key_file",
    metavar="KEY",
    type=click.Path(path_type=Path),
    help="Where they are the same, sign with this private key that they are; with -o and --signature-format.",
)
@click.option(
    "--signature-format", type=click.Choice(["minisign", "openssh", "openssl"]), help="Whose key it is."
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Where the signed statement goes, for `ectools fleet verify`.",
)
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
    key_file: Path | None,
    signature_format: str | None,
    output: Path | None,
    as_json: bool,
) -> int:
    """Build the nixosConfiguration NAME of a flake, and compare its store paths with those of what runs.

    NAME is by default what /etc/every-channel/configuration says. Exit 0: they are the same; 1: they differ.
    What is "added" is in the compared system and not in the rebuilt one, "removed" the other way round;
    "changed" has one name and several hashes.

    With --sign, a statement says that this machine has built the system, and what each of its store paths
    holds: whoever trusts the key has `ectools fleet verify` hold it against what nodes report. What a binary
    cache gave was not built here: build with `substitute = false`.
    """
    if (key_file is None) is not (signature_format is None) or (key_file is None) is not (output is None):
        raise click.UsageError("--sign, --signature-format and --output go together")
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
    private_key = None if key_file is None else _read_key(key_file, str(signature_format))
    other = read_running(system) if published is None else read_published(published, name)
    rebuilt = rebuild_closure(flake, name, override_inputs=overrides)
    comparison = compare_closures(rebuilt, other)
    damaged = find_damaged(other) if contents else None
    is_same = comparison.same and not damaged
    if is_same and private_key is not None and output is not None:
        _sign(rebuilt, flake=flake, name=name, form=str(signature_format), key=private_key, output=output)
    if as_json:
        shown = comparison.show_json() | ({} if damaged is None else {"damaged": list(damaged)})
        click.echo(json.dumps(shown, indent=2))
    else:
        _print(comparison, damaged)
    return 0 if is_same else 1


def _read_key(path: Path, form: str) -> bytes:
    from ectools.netboot.settings.model import SignatureFormat
    from ectools.netboot.signature.key_file import read_private_key

    return read_private_key(SignatureFormat(form), path)


def _sign(rebuilt: Closure, *, flake: str, name: str, form: str, key: bytes, output: Path) -> None:
    from ectools.netboot.publishing.rebuilt import RebuiltSystem, seal_rebuilt
    from ectools.netboot.settings.model import SignatureFormat

    if rebuilt.toplevel is None:
        return
    system = RebuiltSystem(
        system=rebuilt.toplevel,
        hashes=read_hashes(rebuilt),
        flake=flake,
        configuration=name,
        at=int(time.time()),
    )
    write_atomic(output, seal_rebuilt(system, form=SignatureFormat(form), private_key=key))


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
