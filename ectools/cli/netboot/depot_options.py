"""What the commands on depots share: who asks there, and the key that is signed with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from ectools.cli.netboot.state import become_owner

if TYPE_CHECKING:
    from collections.abc import Callable

    from ectools.netboot.depot.opening import AnyDepot
    from ectools.netboot.settings.model import SignatureFormat

_T = TypeVar("_T")

_FILE = click.Path(path_type=Path)


@dataclass(frozen=True, kw_only=True)
class GivenKey:
    """A private key's file, and the program whose it is."""

    form: SignatureFormat
    file: Path


def depot_options(command: Callable[..., _T]) -> Callable[..., _T]:
    """``--token-file``, ``--credentials-file`` and ``--ca-file``."""
    token = click.option(
        "--token-file", type=_FILE, metavar="FILE", help="A file with a forge's or a web server's token."
    )
    credentials = click.option(
        "--credentials-file",
        type=_FILE,
        metavar="FILE",
        help="A file with an S3 store's access key, as Amazon's programs read it, or with a registry's login,"
        " as docker's write it.  [default: $AWS_ACCESS_KEY_ID and $AWS_SECRET_ACCESS_KEY]",
    )
    trust = click.option(
        "--ca-file",
        type=_FILE,
        metavar="FILE",
        help="A private CA's certificate, trusted beside the system's.",
    )
    return token(credentials(trust(command)))


def signing_options(*, required: bool) -> Callable[[Callable[..., _T]], Callable[..., _T]]:
    """``--signature-format`` and ``--key-file``."""

    def decorate(command: Callable[..., _T]) -> Callable[..., _T]:
        form = click.option(
            "--signature-format",
            type=click.Choice(["minisign", "openssh", "openssl"]),
            required=required,
            help="Sign so; with --key-file.",
        )
        key = click.option(
            "--key-file",
            type=_FILE,
            metavar="FILE",
            required=required,
            help="The private key, not encrypted; it is read and nothing else.",
        )
        return form(key(command))

    return decorate


def read_key(signature_format: str | None, key_file: Path | None) -> GivenKey | None:
    """The key that was given; None where none was. Raises click.UsageError."""
    from ectools.netboot.settings.model import SignatureFormat

    if (signature_format is None) != (key_file is None):
        raise click.UsageError("--signature-format and --key-file go together")
    if signature_format is None or key_file is None:
        return None
    return GivenKey(form=SignatureFormat(signature_format), file=key_file)


def open_given(
    place: str,
    *,
    token_file: Path | None,
    credentials_file: Path | None,
    ca_file: Path | None,
    tag: str | None = None,
) -> AnyDepot:
    """The depot of that address; root is from here on the user of one that is a directory.

    ``tag`` is the release's, which an address may name too. Raises InputError, FileError.
    """
    from ectools.fetch.retry import RetryPolicy
    from ectools.fetch.trust import load_trust
    from ectools.netboot.depot.opening import open_depot
    from ectools.netboot.release.forge_token import find_forge_token
    from ectools.netboot.settings.depot_address import (
        DirectoryAddress,
        ForgeAddress,
        OciAddress,
        parse_depot_address,
    )

    address = parse_depot_address(place)
    if isinstance(address, OciAddress) and address.tag not in (None, tag):
        raise click.UsageError(f"{place} names the release {address.tag}: leave that out")
    if isinstance(address, DirectoryAddress):
        become_owner(address.path)
    is_token = token_file is not None or isinstance(address, ForgeAddress)
    return open_depot(
        address,
        retry=RetryPolicy(),
        token=find_forge_token(token_file) if is_token else None,
        credentials_file=credentials_file,
        trust=load_trust(ca_file, option="--ca-file"),
    )
