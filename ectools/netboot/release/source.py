"""Where a release comes from: its archive, and the sums and signature published beside it."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ectools.errors import InputError
from ectools.fetch.client import HttpClient
from ectools.fetch.trust import load_trust
from ectools.files import read_regular
from ectools.netboot.release.checksums import SUMS_NAME
from ectools.netboot.release.download import Archive, Download, LocalArchive
from ectools.netboot.release.forge import advise, find_release
from ectools.netboot.release.forge_token import find_forge_token
from ectools.netboot.release.published import Published, find_published_sum
from ectools.netboot.settings.model import Tarball

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ectools.fetch.retry import RetryPolicy
    from ectools.netboot.release.forge import ForgeRelease
    from ectools.netboot.settings.model import ReleaseSettings


_NAMED_BY_TAG = re.compile(
    r"ec-runner-[A-Za-z0-9_]+-netboot-([A-Za-z0-9][A-Za-z0-9._+-]*?)\.(?:tar\.[A-Za-z0-9]+|tgz|txz)", re.ASCII
)


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
    published = Published(
        where=release.where,
        names=lambda: [asset.name for asset in release.assets],
        read=_read_assets(client, release),
    )
    wanted = find_published_sum(published, asset.name, settings)
    return ReleaseSource(
        archive=Download(client, asset),
        tag=release.tag,
        wanted_sha256=wanted.sha256,
        sums=f"{wanted.name or SUMS_NAME} of {release.tag}",
        is_signed=settings.signature is not None,
        released_at=wanted.released_at,
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

    published = Published(where=str(directory), names=lambda: _list_names(directory), read=read)
    wanted = find_published_sum(published, tarball.name, settings)
    return ReleaseSource(
        archive=LocalArchive(tarball, size=status.st_size),
        tag=_find_tag(tarball.name),
        wanted_sha256=wanted.sha256,
        sums=str(directory / (wanted.name or SUMS_NAME)),
        is_signed=settings.signature is not None,
        released_at=wanted.released_at,
    )


def _find_tag(name: str) -> str | None:
    """The tag in an archive's name, as ``ectools netboot pack`` makes it; None where it has another."""
    found = _NAMED_BY_TAG.fullmatch(name)
    return None if found is None else found[1]


def _list_names(directory: Path) -> list[str]:
    """The files beside an archive; none where the directory is not to be looked into."""
    try:
        return [path.name for path in directory.iterdir() if path.is_file()]
    except OSError:
        return []


def _read_assets(client: HttpClient, release: ForgeRelease) -> Callable[[str, int], bytes | None]:
    def read(name: str, limit: int) -> bytes | None:
        asset = release.find_asset(name)
        if asset is None:
            return None
        return client.read(asset.url, limit=limit, what=name, size=asset.size)

    return read
