"""The options that say where releases come from, and what leads to the one that is wanted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ectools.errors import InputError
from ectools.names import show_path
from ectools.netboot.settings import checks
from ectools.netboot.settings.depot_address import (
    DirectoryAddress,
    ForgeAddress,
    OciAddress,
    is_github_host,
    parse_depot_address,
)
from ectools.netboot.settings.model import DepotSource, Forge, Tarballs
from ectools.parsing import check_path, check_secret_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ectools.netboot.fleet.model import NodeGroup
    from ectools.netboot.settings.depot_address import DepotAddress
    from ectools.parsing import Problems


def build_source(
    raw: Mapping[str, Any], problems: Problems, *, others: Callable[[str], Iterable[str]]
) -> Forge | DepotSource | Tarballs:
    """Where releases come from; the options of the one are checked where it is the other too.

    ``others`` gives the patterns of further archives, of that of the first.
    """
    tag = problems.check("release.tag", raw["tag"], checks.check_tag)
    tarball = raw["tarball"]
    paths = [tarball] if isinstance(tarball, str) else tarball or []
    for index, path in enumerate(paths):
        option = "release.tarball" if path is tarball else f"release.tarball[{index}]"
        problems.check(option, path, check_path)
    token_file = problems.check("release.tokenFile", raw["tokenFile"], check_secret_path)
    credentials = problems.check("release.credentialsFile", raw["credentialsFile"], check_secret_path)
    ca_file = problems.check("release.caFile", raw["caFile"], check_path)
    artifact = problems.check("release.artifact", raw["artifact"], checks.check_artifact)
    problems.check("release.host", raw["host"], checks.check_host_url)
    address = _parse_source(raw, problems)
    if tag is not None and tarball is not None:
        problems.add("release.tarball", tarball, "set beside release.tag", "one of the two")
    if paths:
        return Tarballs(paths=tuple(map(Path, paths)))
    common = {
        "tag": tag,
        "token_file": _optional_path(token_file),
        "artifact": artifact,
        "other_artifacts": tuple(others(artifact)),
        "ca_file": _optional_path(ca_file),
    }
    if address is None or isinstance(address, ForgeAddress):
        if address is None:
            host = raw["host"].rstrip("/")
            address = ForgeAddress(host=host, repo=raw["repo"], is_github=is_github_host(host))
        return Forge(host=address.host, repo=address.repo, is_github=address.is_github, **common)
    if isinstance(address, OciAddress) and address.tag is not None:
        for other in ("tag", "channel"):
            if raw[other] is not None:
                message = f"names a release, {address.tag}, and is set beside release.{other}"
                problems.add("release.source", raw["source"], message, "one of the two")
        common["tag"] = address.tag
    elif tag is None and raw["channel"] is None:
        message = "is no forge, which says what its latest release is"
        problems.add("release.source", raw["source"], message, "release.channel beside it, or release.tag")
    return DepotSource(address=address, credentials_file=_optional_path(credentials), **common)


def build_channel(raw: Mapping[str, Any], problems: Problems, *, is_signed: bool) -> str | None:
    """The channel that leads to the release, where one does."""
    channel: str | None = raw["channel"]
    if channel is None:
        return None
    for other in ("tag", "tarball"):
        if raw[other] is not None:
            problems.add("release.channel", channel, f"set beside release.{other}", "one of the two")
    if not is_signed:
        problems.add("release.channel", channel, _UNSIGNED, _PIN)
    return channel


def check_group_channels(groups: Mapping[str, NodeGroup], problems: Problems, *, is_signed: bool) -> None:
    """A group follows a channel only where a key is pinned."""
    for group in groups.values():
        if group.channel is not None and not is_signed:
            problems.add(
                show_path(("fleet", "groups", group.name, "channel")), group.channel, _UNSIGNED, _PIN
            )


_UNSIGNED = "nothing says who leads it: whoever holds the store could"
_PIN = "release.signature, which pins the key that channels are signed by"


def _parse_source(raw: Mapping[str, Any], problems: Problems) -> DepotAddress | None:
    source: str | None = raw["source"]
    if source is None:
        return None
    if raw["tarball"] is not None:
        problems.add("release.source", source, "set beside release.tarball", "one of the two")
    try:
        address = parse_depot_address(source)
    except InputError as error:
        expected = (error.hint or "").removesuffix(" was expected")
        problems.add("release.source", source, error.message.partition(": ")[2], expected)
        return None
    if isinstance(address, DirectoryAddress) and not address.path.is_absolute():
        problems.add("release.source", source, "is no absolute path", "file:/srv/releases")
    return address


def _optional_path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
