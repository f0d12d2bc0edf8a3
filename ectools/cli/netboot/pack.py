"""``ectools netboot pack``: a release's archives from netboot outputs."""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ectools.cli.netboot.state import become_owner

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ectools.netboot.kernel import KernelArchitecture
    from ectools.netboot.release.pack import Packed


@click.command(epilog="Example: ectools netboot pack ./result --tag boot-v2026.03.02 -o ./release")
@click.argument(
    "directories", metavar="DIRECTORY...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option("--tag", required=True, metavar="TAG", help="The release's tag, a part of the archive's name.")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default=Path(),
    metavar="DIR",
    help="Where to write.  [default: here]",
)
@click.option(
    "--system",
    type=click.Choice(["x86_64", "aarch64"]),
    help="What DIRECTORY is for.  [default: what its kernel says, else x86_64]",
)
@click.option("--format", "suffix", type=click.Choice(["gz", "xz", "zst"]), default="gz", show_default=True)
@click.option(
    "--signature-format",
    type=click.Choice(["minisign", "openssh", "openssl"]),
    help="Sign SHA256SUMS.txt so; with --key-file.",
)
@click.option(
    "--key-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The private key, not encrypted; it is read and nothing else.",
)
@click.option(
    "--timestamp",
    type=click.IntRange(0, 99_999_999_999),
    metavar="SECONDS",
    help="When it is released, since 1970.  [default: the day in the tag]",
)
@click.option(
    "--with-system",
    "systems",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="PATH",
    help="A NixOS system for installed nodes: its closure goes into the release as a binary cache.",
)
@click.option(
    "--nix-key-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The secret key that signs store paths, as `nix key generate-secret` makes it; with --with-system.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print {archives, sums, signature}, and of one {archive, sha256}."
)
def pack(
    *,
    directories: tuple[Path, ...],
    tag: str,
    out: Path,
    system: str | None,
    suffix: str,
    signature_format: str | None,
    key_file: Path | None,
    timestamp: int | None,
    systems: tuple[Path, ...],
    nix_key_file: Path | None,
    as_json: bool,
) -> None:
    """Make a release's archives, one of each DIRECTORY: kernel, initrd, netboot.ipxe, as Nix builds them.

    An archive ec-runner-SYSTEM-netboot-TAG.tar.gz is the same at every run, byte by byte. Its sum goes into
    SHA256SUMS.txt beside it, where the sums of other archives stay, and so does the time of its release, by
    which a boot server knows an older release from a newer one. The outputs for several architectures make
    one release.

    With --with-system, the archive for a system's architecture holds its closure too, from which nodes that
    are installed take it: below /releases/ID/cache, by stock Nix.
    """
    if system is not None and len(directories) > 1:
        raise click.UsageError("--system is for one DIRECTORY; of several, the kernels say what they are for")
    if (signature_format is None) != (key_file is None):
        raise click.UsageError("--signature-format and --key-file go together")
    if bool(systems) != (nix_key_file is not None):
        raise click.UsageError("--with-system and --nix-key-file go together: nodes take signed paths alone")
    become_owner(out)
    from ectools.netboot.kernel import KernelArchitecture
    from ectools.netboot.release.archive_writer import Compression
    from ectools.netboot.release.pack import SigningKey
    from ectools.netboot.release.pack import pack as pack_release
    from ectools.netboot.settings.model import SignatureFormat

    key = None
    if signature_format is not None and key_file is not None:
        key = SigningKey(format=SignatureFormat(signature_format), file=key_file)
    with contextlib.ExitStack() as cleanup:
        packed = pack_release(
            directories,
            out,
            tag=tag,
            architecture=None if system is None else KernelArchitecture(system),
            compression=Compression(suffix),
            key=key,
            released_at=timestamp,
            make_caches=lambda: _write_caches(systems, out, nix_key_file, cleanup),
        )
    if as_json:
        click.echo(json.dumps(_show_json(packed)))
        return
    for path in (*(each.path for each in packed.archives), packed.sums, packed.signature):
        if path is not None:
            click.echo(path)


def _write_caches(
    systems: Sequence[Path], out: Path, key_file: Path | None, cleanup: contextlib.ExitStack
) -> dict[KernelArchitecture, Mapping[str, Path]]:
    """The systems' binary caches, an architecture each, in directories that end with ``cleanup``."""
    from ectools.netboot.release.binary_cache import find_platforms, write_binary_cache

    caches: dict[KernelArchitecture, Mapping[str, Path]] = {}
    if key_file is not None:
        for architecture, paths in find_platforms(systems).items():
            # Beside the archive: a closure may be larger than what /tmp has room for.
            out.mkdir(parents=True, exist_ok=True)
            directory = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix=".cache-", dir=out)))
            caches[architecture] = write_binary_cache(paths, directory, key_file=key_file)
    return caches


def _show_json(packed: Packed) -> dict[str, Any]:
    archives = [
        {"archive": str(each.path), "sha256": each.sha256, "system": each.architecture.value}
        for each in packed.archives
    ]
    one = {key: archives[0][key] for key in ("archive", "sha256")} if len(archives) == 1 else {}
    return {
        **one,
        "sums": str(packed.sums),
        "signature": None if packed.signature is None else str(packed.signature),
        "archives": archives,
    }


COMMAND = pack
