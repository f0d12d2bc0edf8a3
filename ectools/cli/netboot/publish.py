"""``ectools netboot publish``: a release, packed and put where boot hosts stage it from."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from ectools.cli.netboot.depot_options import depot_options, open_given, read_key, signing_options
from ectools.files import read_input

if TYPE_CHECKING:
    from ectools.netboot.depot.interface import Publication

_MAX_LOCK = 16 << 20
# What has no effect on a release that is packed already.
_OF_PACKING = ("signature_format", "key_file", "suffix", "uri", "commit", "lock_file", "builder", "timestamp")


@click.command(
    epilog="Example: ectools netboot publish ./result --tag boot-v2026.03.02 --to /srv/releases"
    " --signature-format minisign --key-file release.key"
)
@click.argument(
    "directories", metavar="DIRECTORY...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option("--tag", required=True, metavar="TAG", help="The release's tag.")
@click.option(
    "--to",
    "place",
    required=True,
    metavar="PLACE",
    help="A directory, s3://BUCKET/PREFIX?endpoint=URL, oci://HOST/NAME, https://HOST/PATH or"
    " forge:https://HOST/OWNER/NAME.",
)
@depot_options
@signing_options(required=False)
@click.option("--format", "suffix", type=click.Choice(["gz", "xz", "zst"]), default="gz", show_default=True)
@click.option("--source", "uri", metavar="URI", help="What it was built from: git+https://HOST/OWNER/NAME.")
@click.option("--commit", metavar="HEX", help="The commit of --source.")
@click.option(
    "--lock",
    "lock_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The lock of its dependencies, whose SHA-256 is stated: flake.lock.",
)
@click.option("--builder", metavar="URI", help="Who built it, for its provenance.")
@click.option(
    "--timestamp",
    type=click.IntRange(0, 99_999_999_999),
    metavar="SECONDS",
    help="When it is released, since 1970.  [default: the day in the tag]",
)
@click.option("--json", "as_json", is_flag=True, help="Print {outcome, tag, place, files}.")
def publish(
    *,
    directories: tuple[Path, ...],
    tag: str,
    place: str,
    token_file: Path | None,
    credentials_file: Path | None,
    ca_file: Path | None,
    signature_format: str | None,
    key_file: Path | None,
    suffix: str,
    uri: str | None,
    commit: str | None,
    lock_file: Path | None,
    builder: str | None,
    timestamp: int | None,
    as_json: bool,
) -> None:
    """Publish a release: netboot outputs, as Nix builds them, or what `ectools netboot pack` made of them.

    Beside the archives and SHA256SUMS.txt go its signature, a statement of what was built from which source
    (in-toto, SLSA's provenance), and release.json, which comes last. What is published never changes: the
    same once more is no error, another release under the same tag is one, also where both come at once. No
    release is published under the name of a channel that is there.
    """
    from ectools.netboot.depot.interface import check_tag_name
    from ectools.netboot.publishing.names import check_no_channel
    from ectools.netboot.publishing.provenance import BuildSource
    from ectools.netboot.publishing.publication import is_packed, pack_publication, read_publication
    from ectools.netboot.release.archive_writer import Compression
    from ectools.netboot.release.pack import SigningKey

    depot = open_given(
        place, token_file=token_file, credentials_file=credentials_file, ca_file=ca_file, tag=tag
    )
    packed = [directory for directory in directories if is_packed(directory)]
    if packed and (len(directories) > 1 or (given := _list_given(*_OF_PACKING))):
        without = "alone" if len(directories) > 1 else f"without {', '.join(given)}"
        raise click.UsageError(
            f"{packed[0]} is packed: it is published as it is, with the signature that it has, and {without}"
        )
    check_no_channel(depot, check_tag_name(tag), where=depot.where)
    with tempfile.TemporaryDirectory(prefix="ectools-publish-") as name:
        work = Path(name)
        publication: Publication
        if packed:
            publication = read_publication(packed[0], work, tag=tag)
        else:
            key = read_key(signature_format, key_file)
            publication = pack_publication(
                directories,
                work,
                tag=tag,
                compression=Compression(suffix),
                key=None if key is None else SigningKey(format=key.form, file=key.file),
                source=BuildSource(uri=uri, commit=commit, builder=builder, lock=_hash(lock_file)),
                released_at=timestamp,
            )
        is_new = depot.publish(publication)
    if as_json:
        files = [{"name": each.name, "size": each.size, "sha256": each.sha256} for each in publication.files]
        outcome = "published" if is_new else "unchanged"
        click.echo(json.dumps({"outcome": outcome, "tag": tag, "place": depot.where, "files": files}))
        return
    click.echo(f"{tag}: {'published' if is_new else 'was published already, the same'}: {depot.where}")


def _hash(lock_file: Path | None) -> str | None:
    return None if lock_file is None else hashlib.sha256(read_input(lock_file, limit=_MAX_LOCK)).hexdigest()


def _list_given(*names: str) -> list[str]:
    """Those of these options that somebody has written, each as it is written."""
    context = click.get_current_context()
    return [
        option.opts[0]
        for option in context.command.params
        if option.name in names and context.get_parameter_source(option.name) is ParameterSource.COMMANDLINE
    ]


COMMAND = publish
