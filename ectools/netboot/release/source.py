"""Where a release comes from: its archive, and the sums and signature published beside it."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ectools import log
from ectools.errors import InputError
from ectools.fetch.client import HttpClient
from ectools.fetch.trust import load_trust
from ectools.files import read_input, read_regular
from ectools.netboot.release.checksums import (
    MAX_SUMS_BYTES,
    SUMS_NAME,
    ChecksumsError,
    find_checksum,
    parse_checksums,
    parse_release_times,
)
from ectools.netboot.release.download import Archive, Download, LocalArchive
from ectools.netboot.release.forge import advise, find_release
from ectools.netboot.release.forge_token import find_forge_token
from ectools.netboot.settings.model import Tarball
from ectools.netboot.signature import (
    MAX_KEY_BYTES,
    MAX_SIGNATURE_BYTES,
    SUFFIXES,
    SignatureError,
    verify_signature,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ectools.fetch.retry import RetryPolicy
    from ectools.netboot.release.forge import ForgeRelease
    from ectools.netboot.settings.model import ReleaseSettings, Signature

_log = log.Log(__name__)


@dataclass(frozen=True, kw_only=True)
class ReleaseSource:
    """An archive that may be staged, and what is published of it.

    ``wanted_sha256`` is None where no sums are published; ``sums`` says where they stand.
    ``released_at`` is what a pinned key has signed, in seconds since 1970; None where it says nothing.
    """

    archive: Archive
    tag: str | None
    wanted_sha256: str | None
    sums: str
    is_signed: bool
    released_at: int | None


@dataclass(frozen=True, kw_only=True)
class _Published:
    """A place where files stand: ``read(name, limit)`` gives one of them, or None."""

    where: str
    read: Callable[[str, int], bytes | None]


def find_source(settings: ReleaseSettings, retry: RetryPolicy) -> ReleaseSource:
    """Find the archive and what is published of it; the archive itself is not read yet.

    Raises InputError, FetchError, ForgeError, ChecksumsError, SignatureError.
    """
    if isinstance(settings.source, Tarball):
        return _find_local(settings, settings.source.path)
    forge = settings.source
    token = find_forge_token(forge.token_file)
    client = HttpClient(
        forge.host,
        # Forgejo API, "Authentication".
        authorization=None if token is None else f"token {token}",
        retry=retry,
        advise=advise,
        trust=load_trust(forge.ca_file, option="release.caFile"),
    )
    release = find_release(client, host=forge.host, repo=forge.repo, tag=forge.tag)
    asset = release.choose_asset(forge.artifact)
    published = _Published(where=release.where, read=_read_assets(client, release))
    wanted, released_at = _find_wanted(published, asset.name, settings)
    return ReleaseSource(
        archive=Download(client, asset),
        tag=release.tag,
        wanted_sha256=wanted,
        sums=f"{SUMS_NAME} of {release.tag}",
        is_signed=settings.signature is not None,
        released_at=released_at,
    )


def _find_local(settings: ReleaseSettings, tarball: Path) -> ReleaseSource:
    hint = "release.tarball, or --tarball, names a release's archive"
    try:
        status = tarball.stat()
    except OSError as error:
        raise InputError(f"{tarball}: cannot be read: {error.strerror}", hint=hint) from error
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{tarball}: is not a file", hint=hint)
    directory = tarball.parent

    def read(name: str, limit: int) -> bytes | None:
        path = directory / name
        return read_regular(path, limit=limit) if path.exists() else None

    published = _Published(where=str(directory), read=read)
    wanted, released_at = _find_wanted(published, tarball.name, settings)
    return ReleaseSource(
        archive=LocalArchive(tarball, size=status.st_size),
        tag=None,
        wanted_sha256=wanted,
        sums=str(directory / SUMS_NAME),
        is_signed=settings.signature is not None,
        released_at=released_at,
    )


def _read_assets(client: HttpClient, release: ForgeRelease) -> Callable[[str, int], bytes | None]:
    def read(name: str, limit: int) -> bytes | None:
        asset = release.find_asset(name)
        if asset is None:
            return None
        return client.read(asset.url, limit=limit, what=name, size=asset.size)

    return read


def _find_wanted(
    published: _Published, archive: str, settings: ReleaseSettings
) -> tuple[str | None, int | None]:
    """The archive's sum, and when it was released, where that is signed."""
    sums = published.read(SUMS_NAME, MAX_SUMS_BYTES)
    if sums is None:
        if settings.require_sums or settings.signature is not None:
            raise ChecksumsError(
                f"{published.where}: there is no {SUMS_NAME}, and "
                + (
                    "release.requireSums is set" if settings.require_sums else "a signature of it is required"
                ),
                hint=f"publish it beside {archive}: `sha256sum {archive} > {SUMS_NAME}`",
            )
        _log.warning(
            f"NO {SUMS_NAME} IS PUBLISHED: nothing tells whether the archive is what it was", archive=archive
        )
        return None, None
    where = f"{SUMS_NAME} of {published.where}"
    released_at = None
    if settings.signature is not None:
        signed_at = _check_signature(published, sums, settings.signature)
    wanted = find_checksum(parse_checksums(sums, where=where), archive, where=where)
    if settings.signature is not None:
        # An archive's own time goes before that of the signature, which is of the whole file. Where only
        # others have one, this may be an old archive whose sum was kept: then its age is not known.
        times = parse_release_times(sums, where=where)
        released_at = times.get(archive) if times else signed_at
    return wanted, released_at


def _check_signature(published: _Published, sums: bytes, pinned: Signature) -> int | None:
    """When they were signed, where that is known."""
    name = SUMS_NAME + SUFFIXES[pinned.format]
    signature = published.read(name, MAX_SIGNATURE_BYTES)
    if signature is None:
        raise SignatureError(
            f"{published.where}: there is no {name}, and release.signature pins a key",
            hint="a release that is not signed is not staged while a key is pinned",
        )
    try:
        key = read_input(pinned.public_key_file, limit=MAX_KEY_BYTES)
        signed_at = verify_signature(pinned.format, data=sums, signature=signature, public_key=key)
    except SignatureError as error:
        raise SignatureError(
            f"{name} of {published.where}: {error.message} (the key is {pinned.public_key_file})",
            hint=error.hint or "nothing was staged",
        ) from error
    _log.info("the published sums are signed by the pinned key", format=str(pinned.format))
    return signed_at
