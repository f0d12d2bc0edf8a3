"""A forge's release → where its archive, sums and signature are (Forgejo API, repoGetReleaseByTag; GitHub
REST API, "Get a release by tag name", which is nearly the same).
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, assert_never
from urllib.parse import quote

from ectools.errors import EcError, InputError, cut, show_list
from ectools.fetch.client import FetchError, url_origin
from ectools.fetch.rejection import RejectionKind
from ectools.files import parse_json
from ectools.netboot.depot.github_depot import CONTENT_HEADERS
from ectools.netboot.release.systems import find_system_name, is_archive_name
from ectools.redact import redact_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ectools.fetch.client import HttpClient
    from ectools.fetch.rejection import Rejection
    from ectools.netboot.settings.depot_address import ForgeAddress

MAX_JSON_BYTES = 4 << 20
_MAX_NAME = 255


class ForgeError(EcError):
    """A release lacks something, or the forge's answer is not understood."""


@dataclass(frozen=True, kw_only=True)
class Asset:
    """A file of a release; ``size`` in bytes, None where the forge does not say. It is asked for with
    ``headers``.
    """

    name: str
    url: str
    size: int | None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ForgeRelease:
    """``where`` names it for people. What is wrong with a file matters to who wants that one."""

    tag: str
    where: str
    assets: tuple[Asset, ...]

    def find_asset(self, name: str) -> Asset | None:
        """The asset of that name. Raises ForgeError where its address is none."""
        found = next((asset for asset in self.assets if asset.name == name), None)
        return None if found is None else self._check(found)

    def choose_asset(self, pattern: str) -> Asset:
        """The one asset whose name a glob matches. Raises ForgeError where there is none, or several.

        Of several the one archive, beside its checksum or signature (``ARCHIVE.sha256``). It raises too where
        the one's name or address is bad.
        """
        found = self._match(pattern)
        if len(found) == 1:
            return self._check(found[0])
        names = show_list([_show(asset.name) for asset in found or self.assets])
        fault = "several files match" if found else "no file matches"
        raise ForgeError(
            f"{self.where}: {fault} {pattern}: it has {names}",
            hint="release.artifact is the pattern"
            + ("; release.systems names several systems of one release" if found else ""),
        )

    def choose_system(self, system: str) -> Asset:
        """The one archive of a system. Raises ForgeError where there is none, or several."""
        found = [
            asset
            for asset in self.assets
            if is_archive_name(asset.name) and find_system_name(asset.name, self.tag) == system
        ]
        if len(found) == 1:
            return self._check(found[0])
        names = show_list([_show(asset.name) for asset in found or self.assets])
        fault = "several archives are" if found else "no archive is"
        raise ForgeError(
            f"{self.where}: {fault} of the system {system}: it has {names}",
            hint="release.systems names the systems that are wanted, as their archives are called",
        )

    def has_artifact(self, pattern: str) -> bool:
        """Whether there is a file whose name a glob matches."""
        return bool(self._match(pattern))

    def _match(self, pattern: str) -> list[Asset]:
        found = [asset for asset in self.assets if fnmatch.fnmatchcase(asset.name, pattern)]
        return [asset for asset in found if is_archive_name(asset.name)] or found

    def _check(self, asset: Asset) -> Asset:
        _check_text(asset.name, f"{self.where}: assets")
        try:
            url_origin(asset.url)
        except FetchError as error:
            raise ForgeError(f"{self.where}: {asset.name}: browser_download_url: {error.message}") from error
        return asset


def advise(rejection: Rejection) -> str | None:
    """What to do where a forge does not give a release or a file of one, by the options that name it."""
    match rejection.kind:
        case RejectionKind.UNENCRYPTED:
            return "the forge must name its files by https too (Forgejo: ROOT_URL)"
        case RejectionKind.UNREACHABLE if rejection.at_home:
            return None
        case RejectionKind.UNREACHABLE:
            return f"{_ELSEWHERE}: this machine must reach it"
        case RejectionKind.PAGE:
            return _advise_login(rejection)
        case RejectionKind.STATUS:
            return _advise_status(rejection)
    assert_never(rejection.kind)


# Its files' addresses are the forge's to give.
_ELSEWHERE = (
    "the forge names its files by this address, and not by release.host (Forgejo: ROOT_URL, its storage)"
)


def _advise_login(rejection: Rejection) -> str:
    if not rejection.at_home:
        return "is this a login or a portal in front of the forge? its files must be there for programs too"
    if rejection.has_token:
        return "is this a login? the token needs read access to the repository (release.tokenFile)"
    return (
        "is this a login? a private repository needs a token (release.tokenFile, EVERY_CHANNEL_FORGE_TOKEN)"
    )


def _advise_status(rejection: Rejection) -> str | None:
    match rejection.status:
        case 401 | 403 | 404 if rejection.has_token and not rejection.at_home:
            return "the token goes to release.host alone, and this is another host, port or scheme"
        case 401 | 403 if rejection.has_token:
            return "the token needs read access to the repository (release.tokenFile)"
        case 401 | 403:
            return "a private repository needs a token (release.tokenFile, EVERY_CHANNEL_FORGE_TOKEN)"
        case 404 if not rejection.at_home:
            return f"{_ELSEWHERE}: is it the forge's?"
        case 404:
            return "release.host, release.repo and release.tag name the release" + (
                "" if rejection.has_token else "; a private repository looks the same without a token"
            )
        case _:
            return None


def find_release(
    client: HttpClient, address: ForgeAddress, *, tag: str | None, by_api: bool = False
) -> ForgeRelease:
    """The release of a tag, or the latest. Raises FetchError, ForgeError.

    ``by_api``: its files are read by the API, as those of a private repository of GitHub have to be.
    """
    end = "latest" if tag is None else f"tags/{quote(tag, safe='')}"
    url = f"{address.api}/repos/{quote(address.repo)}/releases/{end}"
    shown = redact_url(url)
    try:
        data = client.read(url, limit=MAX_JSON_BYTES, what="the release's description", take_page=True)
    except FetchError as error:
        if tag is None and error.status == 404:
            error.hint = f"{error.hint}; the latest is no draft and no prerelease: release.tag may name one"
        raise
    try:
        raw = parse_json(data, where=shown)
    except InputError as error:
        page = " but a web page" if data.lstrip()[:1] == b"<" else ""
        raise ForgeError(
            f"{shown}: the answer is not JSON{page}", hint="release.host must be a Forgejo's address"
        ) from error
    release = _parse_release(raw, shown, by_api=by_api)
    if tag is not None and release.tag != tag:
        raise ForgeError(
            f"{shown}: the forge answers with the release {release.tag!r}, and {tag!r} was asked for",
            hint="release.tag must be written as the forge writes it"
            if release.tag.casefold() == tag.casefold()
            else "nothing was staged; does something in between answer for the forge?",
        )
    return release


def _parse_release(raw: Any, where: str, *, by_api: bool) -> ForgeRelease:
    if not isinstance(raw, dict) or not isinstance(raw.get("tag_name"), str):
        raise ForgeError(
            f"{where}: the answer is not a release: it has no tag_name",
            hint="release.host must be a Forgejo's address",
        )
    _check_text(raw["tag_name"], f"{where}: tag_name")
    if raw.get("draft") is True:
        # Forgejo gives it to a token that may write, an older Gitea to anybody.
        raise ForgeError(
            f"{where}: {raw['tag_name']} is a draft, and no release yet: its publisher is at work, or was "
            "interrupted",
            hint="nothing was staged; publish it, or name another one by release.tag",
        )
    assets = raw.get("assets") or []
    if not isinstance(assets, list):
        raise ForgeError(f"{where}: assets: an array was expected")
    return ForgeRelease(
        tag=raw["tag_name"],
        where=where,
        assets=tuple(_parse_asset(asset, where, by_api=by_api) for asset in assets),
    )


def _parse_asset(raw: Any, where: str, *, by_api: bool) -> Asset:
    member = "url" if by_api else "browser_download_url"
    name = raw.get("name") if isinstance(raw, dict) else None
    url = raw.get(member) if isinstance(raw, dict) else None
    if not isinstance(name, str) or not name or "/" in name or not isinstance(url, str):
        raise ForgeError(f"{where}: assets: a file without a name or a {member}")
    size = raw.get("size")
    valid = isinstance(size, int) and not isinstance(size, bool) and size > 0
    return Asset(name=name, url=url, size=size if valid else None, headers=CONTENT_HEADERS if by_api else {})


def _show(name: str) -> str:
    return name if name.isprintable() else ascii(name)


def _check_text(text: str, where: str) -> None:
    """A tag, or a file's name: what people are shown, and what is looked for by it."""
    if len(text) > _MAX_NAME:
        raise ForgeError(f"{where}: {cut(ascii(text))} is longer than {_MAX_NAME} characters")
    if not text.isprintable():
        raise ForgeError(f"{where}: {cut(ascii(text))} has characters that cannot be shown")
