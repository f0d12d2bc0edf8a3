"""A release in a depot → its archives, and what is published of them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

from ectools.errors import InputError
from ectools.netboot.depot.directory import DirectoryDepot
from ectools.netboot.depot.objects import ObjectDepot
from ectools.netboot.depot.registry import RegistryDepot
from ectools.netboot.release.checksums import MAX_SUMS_BYTES, SUMS_NAME, parse_checksums
from ectools.netboot.release.download import Archive, Download, LocalArchive
from ectools.netboot.release.followed import open_source
from ectools.netboot.release.forge import Asset, ForgeRelease
from ectools.netboot.release.published import Published

if TYPE_CHECKING:
    from collections.abc import Callable

    from ectools.fetch.retry import RetryPolicy
    from ectools.netboot.depot.opening import AnyDepot
    from ectools.netboot.settings.model import DepotSource


class DepotRelease(NamedTuple):
    """The files of a release, what is published of them, and how one of them is read as an archive."""

    release: ForgeRelease
    published: Published
    open_archive: Callable[[Asset], Archive]


def find_in_depot(source: DepotSource, tag: str, retry: RetryPolicy) -> DepotRelease:
    """The release of a tag; its archives are not read yet. Raises InputError where there is none.

    What is there, its signed sums say: a store that withholds a file is told by what is then missing.
    """
    depot = open_source(source, retry)
    where = f"{depot.where}, {tag}"
    sums = depot.read_file(tag, SUMS_NAME, limit=MAX_SUMS_BYTES)
    if sums is None:
        raise InputError(
            f"{where}: there is no {SUMS_NAME}, by which a release is known there",
            hint="release.source and release.tag name it; `ectools netboot publish` puts it there",
        )
    names = [SUMS_NAME, *parse_checksums(sums, where=f"{SUMS_NAME} of {where}")]
    assets = _list_assets(depot, tag, names)

    def read(name: str, limit: int) -> bytes | None:
        return depot.read_file(tag, name, limit=limit)

    def open_archive(asset: Asset) -> Archive:
        match depot:
            case ObjectDepot() | RegistryDepot():
                return Download(depot.client, asset)
            case DirectoryDepot():
                path = depot.find_path(tag, asset.name)
                if not path.is_file():
                    raise InputError(f"{path}: its sums list it, and it is not there")
                return LocalArchive(path, size=path.stat().st_size)
            case _:
                raise InputError(f"{where}: a forge's releases are named by release.host and release.repo")

    return DepotRelease(
        release=ForgeRelease(tag=tag, where=where, assets=assets),
        published=Published(where=where, names=lambda: names, read=functools.cache(read)),
        open_archive=open_archive,
    )


def _list_assets(depot: AnyDepot, tag: str, names: list[str]) -> tuple[Asset, ...]:
    """The files that are listed, with where each is read over HTTP; of a directory, a name that is none.

    What a registry does not have is left out.
    """
    match depot:
        case ObjectDepot():
            return tuple(Asset(name=name, url=depot.find_url(tag, name), size=None) for name in names)
        case RegistryDepot():
            blobs = depot.list_blobs(tag) or {}
            found = [blobs[name] for name in names if name in blobs]
            return tuple(Asset(name=blob.name, url=blob.url, size=blob.size or None) for blob in found)
        case _:
            return tuple(Asset(name=name, url=f"http://localhost/{name}", size=None) for name in names)
