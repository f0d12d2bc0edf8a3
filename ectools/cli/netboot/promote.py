"""``ectools netboot promote``: a channel is led to a release."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import click

from ectools.cli.netboot.depot_options import depot_options, open_given, read_key, signing_options
from ectools.errors import show_list
from ectools.suggest import did_you_mean


@click.command(
    epilog="Example: ectools netboot promote canary stable --in s3://boot?endpoint=s3.example.org "
    "--signature-format minisign --key-file release.key"
)
@click.argument("origin", metavar="CHANNEL|TAG")
@click.argument("channel", metavar="CHANNEL")
@click.option(
    "--in", "place", required=True, metavar="PLACE", help="Where the release is published; see publish --to."
)
@depot_options
@signing_options(required=True)
@click.option(
    "--valid-days",
    type=click.IntRange(1, 3650),
    metavar="DAYS",
    help="After so many days nobody follows the pointer any more: promote again before.",
)
@click.option(
    "--former-key",
    "former",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The public key of the channel so far, where --key-file is a new one.",
)
@click.option(
    "--withdraw",
    "withdrawn",
    multiple=True,
    metavar="TAG",
    help="Nodes that check signatures never go to this release, and leave it, also for an older one. There is"
    " a warning where none is published under that tag.",
)
@click.option(
    "--forward",
    is_flag=True,
    help="Leave the channel where it is, and say so, if what it leads to was released later.",
)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def promote(
    *,
    origin: str,
    channel: str,
    place: str,
    token_file: Path | None,
    credentials_file: Path | None,
    ca_file: Path | None,
    signature_format: str,
    key_file: Path,
    valid_days: int | None,
    former: Path | None,
    withdrawn: tuple[str, ...],
    forward: bool,
    as_json: bool,
) -> None:
    """Lead a channel to where another channel leads, or to the release of a tag.

    `promote boot-v2026.03.02 canary`, and later `promote canary stable`. The pointer is signed, and has a
    counter, so that boot hosts take no old one for the newest. What it leads to is published whole, and
    signed by the same key. Two who promote at once: one of them is told, and nothing is lost. No channel is
    called as a published tag.
    """
    from ectools.files import read_input
    from ectools.netboot.publishing.promote import Promoter
    from ectools.netboot.signature import MAX_KEY_BYTES
    from ectools.netboot.signature.key_file import read_private_key

    key = read_key(signature_format, key_file)
    if key is None:
        raise click.UsageError("a channel is signed: --signature-format and --key-file")
    depot = open_given(place, token_file=token_file, credentials_file=credentials_file, ca_file=ca_file)
    private_key = read_private_key(key.form, key.file)
    former_key = None if former is None else read_input(former, limit=MAX_KEY_BYTES)
    promoter = Promoter(
        depot=depot, where=depot.where, form=key.form, private_key=private_key, former_key=former_key
    )
    done = promoter.promote(origin, channel, valid_days=valid_days, withdrawn=withdrawn, forward=forward)
    before = None if done.before is None else done.before.tag
    pointer = done.pointer
    if done.is_moved and pointer.expires_at is None and done.before and done.before.expires_at is not None:
        click.echo(f"{channel}: had an end, and has none now: --valid-days gives it one", err=True)
    for each in done.unknown:
        known = [] if done.before is None else [done.before.tag, *done.before.withdrawn]
        others = [tag for tag in known if tag not in done.unknown]
        meant = did_you_mean(each, others, otherwise="nodes that run another one stay where they are")
        click.echo(f"{channel}: {each} is withdrawn, and no release is published as that: {meant}", err=True)
    if as_json:
        shown = {
            name: getattr(pointer, name) for name in ("channel", "tag", "counter", "expires_at", "withdrawn")
        }
        click.echo(json.dumps({**shown, "before": before, "moved": done.is_moved}))
        return
    if done.older is not None:
        click.echo(
            f"{channel}: leads to {pointer.tag}, which was released later than {done.older}; nothing changed"
        )
        return
    if not done.is_moved:
        click.echo(f"{channel}: leads to {pointer.tag} already; nothing changed")
        return
    until = ""
    if pointer.expires_at is not None:
        until = (
            f", until {datetime.fromtimestamp(pointer.expires_at, UTC).isoformat(timespec='minutes')[:16]}Z"
        )
    left = show_list([each for each in pointer.withdrawn if each in withdrawn], nothing="")
    left = f"; withdrawn: {left}" if left else ""
    click.echo(f"{channel}: {'nothing' if before is None else before} → {pointer.tag}{until}{left}")


COMMAND = promote
