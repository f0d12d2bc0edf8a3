"""``ectools netboot stage``: a release from a forge or a tarball, made current."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from ectools.cli.complete import complete_file, complete_words
from ectools.cli.netboot.state import load_state, show_size, state_options

if TYPE_CHECKING:
    from pathlib import Path


@click.command(epilog="Example: ectools netboot stage --tag boot-v2026.03.02 --state-dir ./netboot")
@state_options
@click.option(
    "--tarball",
    "tarballs",
    metavar="FILE",
    multiple=True,
    shell_complete=complete_file,
    help="A release's archive on this machine, in place of the forge's. Several: one a system.",
)
@click.option(
    "--source",
    metavar="PLACE",
    help="Where releases are published: a directory, https://…, s3://…, oci://…; with --channel or --tag.",
)
@click.option("--channel", metavar="NAME", help="The channel that leads to the release; it is signed.")
@click.option(
    "--credentials-file",
    metavar="FILE",
    shell_complete=complete_file,
    help="A file with an S3 store's access key, as Amazon's programs read it, or a registry's login.",
)
@click.option("--host", metavar="URL", help="The forge (a Forgejo).")
@click.option("--repo", metavar="OWNER/NAME", help="The repository there.")
@click.option("--tag", metavar="TAG", help="The release's tag.  [default: the latest]")
@click.option("--artifact", metavar="GLOB", help="The archive's name among the release's files.")
@click.option(
    "--system",
    "systems",
    metavar="NAME",
    multiple=True,
    help="A system of the release, named as its archive is: ec-runner-aarch64-netboot. May be given several"
    " times.  [default: what --artifact matches]",
)
@click.option(
    "--token-file",
    metavar="FILE",
    shell_complete=complete_file,
    help="A file with the forge's token, for a private repository.",
)
@click.option(
    "--ca-file",
    metavar="FILE",
    shell_complete=complete_file,
    help="A private CA's certificate, trusted beside the system's for the forge.",
)
@click.option("--require-sums", is_flag=True, help="Refuse a release without a published SHA256SUMS.txt.")
@click.option(
    "--signature-format",
    metavar="minisign|openssh|openssl",
    shell_complete=complete_words("minisign", "openssh", "openssl"),
    help="How SHA256SUMS.txt must be signed; with --public-key-file.",
)
@click.option(
    "--public-key-file",
    metavar="FILE",
    shell_complete=complete_file,
    help="The pinned public key of that signature.",
)
@click.option(
    "--keep", type=int, metavar="N", help="How many releases stay beside the current and the previous one."
)
@click.option("--accept-withdrawn", is_flag=True, help="Make it current even where it was rolled back from.")
@click.option("--json", "as_json", is_flag=True, help="Print {outcome, release, removed} on standard output.")
def stage(
    *,
    config: Path | None,
    state_dir: str | None,
    tarballs: tuple[str, ...],
    source: str | None,
    channel: str | None,
    credentials_file: str | None,
    host: str | None,
    repo: str | None,
    tag: str | None,
    artifact: str | None,
    systems: tuple[str, ...],
    token_file: str | None,
    ca_file: str | None,
    require_sums: bool,
    signature_format: str | None,
    public_key_file: str | None,
    keep: int | None,
    accept_withdrawn: bool,
    as_json: bool,
) -> None:
    """Fetch a release, check it, unpack it, and make it current.

    What was current stays whole and served until then, and is the previous one afterwards. Without a
    published SHA256SUMS.txt there is a warning. The same content again changes nothing. A release that was
    rolled back from is staged, and does not become current again by itself. With several systems, a machine
    is given the one for its architecture.
    """
    if tarballs and tag is not None:
        raise click.UsageError(
            "--tarball and --tag exclude each other: an archive, or a release of the forge"
        )
    if channel is not None and (tarballs or tag is not None):
        raise click.UsageError("--channel excludes --tag and --tarball: it leads to the release")
    from ectools.cli.netboot.progress import show_download
    from ectools.netboot.release.manifest import describe_release
    from ectools.netboot.release.stage import StageOutcome
    from ectools.netboot.release.stage import stage as stage_release

    settings = load_state(
        config,
        state_dir,
        **{
            "release.tarball": list(tarballs) or None,
            "release.source": source,
            "release.channel": channel,
            "release.credentialsFile": credentials_file,
            "release.host": host,
            "release.repo": repo,
            "release.tag": tag,
            "release.artifact": artifact,
            "release.systems": list(systems) or None,
            "release.tokenFile": token_file,
            "release.caFile": ca_file,
            "release.requireSums": require_sums or None,
            "release.signature.format": signature_format,
            "release.signature.publicKeyFile": public_key_file,
            "release.keep": keep,
        },
    )
    with show_download() as on_progress:
        staged = stage_release(settings, accept_withdrawn=accept_withdrawn, on_progress=on_progress)
    if as_json:
        release = describe_release(staged.release)
        removed = [release.id for release in staged.removed]
        click.echo(json.dumps({"outcome": staged.outcome, "release": release, "removed": removed}))
        return
    several = len(staged.release.systems)
    systems_said = f"{several} systems, " if several > 1 else ""
    said = {
        StageOutcome.STAGED: (
            f"{systems_said}{len(staged.release.files)} files, {show_size(staged.release.size)}; current now"
        ),
        StageOutcome.REUSED: "was there already; current now",
        StageOutcome.UNCHANGED: "is current already; nothing changed",
        StageOutcome.WITHDRAWN: (
            "was rolled back from, and is not made current; --accept-withdrawn would do so"
        ),
    }
    click.echo(f"{staged.release.title}: {said[staged.outcome]}")


COMMAND = stage
