"""Where a release comes from: its archives, and the sums and signature published beside them."""

from __future__ import annotations

import functools
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ectools import log
from ectools.errors import InputError, show_list
from ectools.fetch.client import HttpClient
from ectools.fetch.trust import load_trust
from ectools.files import read_regular
from ectools.netboot.release.checksums import SUMS_NAME
from ectools.netboot.release.depot_source import DepotRelease, find_in_depot
from ectools.netboot.release.download import Archive, Download, LocalArchive
from ectools.netboot.release.followed import bind_sums
from ectools.netboot.release.forge import advise, find_release
from ectools.netboot.release.forge_token import find_forge_token
from ectools.netboot.release.published import Published, find_published_sum
from ectools.netboot.release.systems import (
    find_foreign_tag,
    find_system_name,
    is_archive_name,
    is_system_name,
    strip_suffix,
)
from ectools.netboot.settings.model import DepotSource, Tarballs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ectools.fetch.retry import RetryPolicy
    from ectools.netboot.depot.channel import ChannelPointer
    from ectools.netboot.release.forge import Asset, ForgeRelease
    from ectools.netboot.settings.model import Forge, ReleaseSettings

_log = log.Log(__name__)


_NAMED_BY_TAG = re.compile(r"ec-runner-[A-Za-z0-9_]+-netboot-([A-Za-z0-9][A-Za-z0-9._+-]*)", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class ArchiveSource:
    """An archive that may be staged, and what is published of it.

    ``system`` is what its name says that it holds. ``wanted_sha256`` is None where no sums are published;
    ``sums`` says where they stand. ``released_at`` is what a pinned key has signed, in seconds since 1970;
    None where it says nothing.
    """

    system: str
    archive: Archive
    tag: str | None
    wanted_sha256: str | None
    sums: str
    is_signed: bool
    released_at: int | None


@dataclass(frozen=True, kw_only=True)
class ReleaseSource:
    """The archives of a release that may be staged, one a system, and at least one."""

    archives: tuple[ArchiveSource, ...]

    @property
    def tag(self) -> str | None:
        """Their tag; None where they have none, or several."""
        tags = {each.tag for each in self.archives}
        return tags.pop() if len(tags) == 1 else None

    @property
    def is_local(self) -> bool:
        """Whether they are files of this machine, which may have changed since their sums were published."""
        return any(isinstance(each.archive, LocalArchive) for each in self.archives)

    @property
    def is_signed(self) -> bool:
        return all(each.is_signed for each in self.archives)

    @property
    def wanted_sums(self) -> list[str] | None:
        """The published SHA-256 of all of them, sorted; None where one has none."""
        sums = [each.wanted_sha256 for each in self.archives if each.wanted_sha256 is not None]
        return sorted(sums) if len(sums) == len(self.archives) else None

    @property
    def released_at(self) -> int | None:
        """When the oldest of them was released; None where that is not known of each."""
        times = [each.released_at for each in self.archives if each.released_at is not None]
        return min(times) if len(times) == len(self.archives) else None


def find_source(
    settings: ReleaseSettings, retry: RetryPolicy, pointer: ChannelPointer | None = None
) -> ReleaseSource:
    """Find the archives and what is published of them; the archives themselves are not read yet.

    ``pointer``: the channel's that led to the tag, whose sums alone are taken. Raises InputError, FetchError,
    ForgeError, ChecksumsError, ChannelError, SignatureError.
    """
    if isinstance(settings.source, Tarballs):
        archives = tuple(_find_local(settings, path) for path in settings.source.paths)
        _check_wanted(archives, settings.systems)
    elif isinstance(settings.source, DepotSource):
        archives = _find_in_depot(settings, settings.source, retry, pointer)
    else:
        archives = _find_published(settings, settings.source, retry, pointer)
    return ReleaseSource(archives=_check_apart(archives))


def _check_wanted(archives: tuple[ArchiveSource, ...], systems: tuple[str, ...]) -> None:
    """Raises InputError where a system that is wanted is none of the archives given."""
    missing = sorted(set(systems) - {each.system for each in archives})
    if missing:
        given = show_list([f"{each.archive.name} ({each.system})" for each in archives])
        raise InputError(
            f"release.systems: {show_list(missing)}: no archive given is of it; given are {given}",
            hint="release.tarball, or --tarball several times, names one archive a system",
        )


def _check_apart(archives: tuple[ArchiveSource, ...]) -> tuple[ArchiveSource, ...]:
    """The archives, in the order of their systems' names, which tell them apart. Raises InputError."""
    if len(archives) == 1:
        return archives
    found: dict[str, ArchiveSource] = {}
    for each in archives:
        if not is_system_name(each.system):
            raise InputError(
                f"{each.archive.name}: {each.system!r} cannot be the name of a system",
                hint="an archive is called as its system, such as ec-runner-x86_64-netboot-TAG.tar.gz",
            )
        other = found.setdefault(each.system, each)
        if other is not each:
            raise InputError(
                f"{other.archive.name} and {each.archive.name}: both are of the system {each.system}",
                hint="a release has one archive a system",
            )
    return tuple(found[name] for name in sorted(found))


def _find_published(
    settings: ReleaseSettings, forge: Forge, retry: RetryPolicy, pointer: ChannelPointer | None
) -> tuple[ArchiveSource, ...]:
    token = find_forge_token(forge.token_file)
    client = HttpClient(
        forge.address.api,
        # Forgejo API and GitHub REST API, both "Authentication".
        authorization=None if token is None else f"token {token}",
        retry=retry,
        advise=advise,
        trust=load_trust(forge.ca_file, option="release.caFile"),
    )
    by_api = forge.is_github and token is not None
    release = find_release(client, forge.address, tag=forge.tag, by_api=by_api)
    published = Published(
        where=release.where,
        names=lambda: [asset.name for asset in release.assets],
        read=functools.cache(_read_assets(client, release)),
    )
    found = DepotRelease(
        release=release,
        published=bind_sums(published, pointer),
        open_archive=functools.partial(Download, client),
    )
    return _choose_archives(found, forge, settings)


def _find_in_depot(
    settings: ReleaseSettings, source: DepotSource, retry: RetryPolicy, pointer: ChannelPointer | None
) -> tuple[ArchiveSource, ...]:
    if source.tag is None:
        raise InputError(
            f"{source.address}: nothing says which release of it is wanted",
            hint="release.channel, release.tag, --channel or --tag",
        )
    found = find_in_depot(source, source.tag, retry)
    return _choose_archives(found._replace(published=bind_sums(found.published, pointer)), source, settings)


def _choose_archives(
    found: DepotRelease, source: Forge | DepotSource, settings: ReleaseSettings
) -> tuple[ArchiveSource, ...]:
    """The archives of a release that are wanted, with what is published of each."""
    tag, chosen = found.release.tag, []
    for asset in _choose_assets(found.release, source, settings.systems):
        wanted = find_published_sum(found.published, asset.name, settings)
        if settings.signature is not None:
            _check_tag(asset.name, tag=tag, where=found.release.where)
        chosen.append(
            ArchiveSource(
                system=find_system_name(asset.name, tag),
                archive=found.open_archive(asset),
                tag=tag,
                wanted_sha256=wanted.sha256,
                sums=f"{wanted.name or SUMS_NAME} of {tag}",
                is_signed=settings.signature is not None,
                released_at=wanted.released_at,
            )
        )
    return tuple(chosen)


def _check_tag(name: str, *, tag: str, where: str) -> None:
    """Raises InputError where a release of another tag passes for this one, which its signature would allow:
    what is signed are sums of names.
    """
    named = find_foreign_tag(name, tag)
    if named is not None:
        raise InputError(
            f"{where}: {name} is an archive of the tag {named}, and the release is {tag}",
            hint="an old release may pass for another one here; if it is none, publish its archive as"
            f" {find_system_name(name, tag)}-{tag.replace('/', '-')}, with sums that are signed anew",
        )


def _choose_assets(
    release: ForgeRelease, forge: Forge | DepotSource, systems: tuple[str, ...]
) -> list[Asset]:
    if systems:
        return [release.choose_system(name) for name in systems]
    chosen = [release.choose_asset(forge.artifact)]
    for pattern in forge.other_artifacts:
        if release.has_artifact(pattern):
            chosen.append(release.choose_asset(pattern))
        else:
            _log.info("the release has no archive of this name", artifact=pattern, tag=release.tag)
    return chosen


def _find_local(settings: ReleaseSettings, tarball: Path) -> ArchiveSource:
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
    return ArchiveSource(
        system=find_system_name(tarball.name, None),
        archive=LocalArchive(tarball, size=status.st_size),
        tag=_find_tag(tarball.name),
        wanted_sha256=wanted.sha256,
        sums=str(directory / (wanted.name or SUMS_NAME)),
        is_signed=settings.signature is not None,
        released_at=wanted.released_at,
    )


def _find_tag(name: str) -> str | None:
    """The tag in an archive's name, as ``ectools netboot pack`` makes it; None where it has another."""
    found = _NAMED_BY_TAG.fullmatch(strip_suffix(name)) if is_archive_name(name) else None
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
        return client.read(asset.url, limit=limit, what=name, size=asset.size, headers=asset.headers)

    return read
