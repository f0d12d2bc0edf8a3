"""A channel as it is followed: where its depot says that it leads, and that no other sums are taken."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ectools import log
from ectools.errors import EcError, InputError
from ectools.fetch.trust import load_trust
from ectools.files import read_input
from ectools.netboot.depot.channel import ChannelError, ChannelPointer
from ectools.netboot.depot.opening import AnyDepot, open_depot
from ectools.netboot.fleet.load import load_whole
from ectools.netboot.release.channels import check_pointer, read_pointer
from ectools.netboot.release.checksums import SUMS_NAME
from ectools.netboot.release.forge_token import find_forge_token
from ectools.netboot.settings.model import DepotSource, Forge
from ectools.netboot.signature import MAX_KEY_BYTES, SignatureError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ectools.fetch.retry import RetryPolicy
    from ectools.netboot.release.published import Published
    from ectools.netboot.release.store import ReleaseStore
    from ectools.netboot.settings.model import NetbootSettings, ReleaseSettings

_log = log.Log(__name__)


@dataclass(frozen=True, kw_only=True)
class Followed:
    """A pointer, and the settings by which its release is staged. ``where`` names the depot."""

    pointer: ChannelPointer
    settings: ReleaseSettings
    where: str


def open_source(source: Forge | DepotSource, retry: RetryPolicy) -> AnyDepot:
    """The depot that releases are staged from. Raises FileError, InputError."""
    is_forge = isinstance(source, Forge)
    # A web server's token is in no variable: that is a forge's.
    token = find_forge_token(source.token_file) if is_forge or source.token_file is not None else None
    return open_depot(
        source.address,
        retry=retry,
        token=token,
        credentials_file=None if isinstance(source, Forge) else source.credentials_file,
        trust=load_trust(source.ca_file, option="release.caFile"),
    )


def follow(store: ReleaseStore, settings: ReleaseSettings, channel: str, retry: RetryPolicy) -> Followed:
    """Where a channel leads, which is no less than was seen of it before; nothing is kept yet.

    Raises InputError where there is no key to check it by, OlderPointerError, ChannelError, SignatureError,
    and what the depot raises.
    """
    source, pinned = settings.source, settings.signature
    if pinned is None or not isinstance(source, Forge | DepotSource):
        raise InputError(
            f"the channel {channel} cannot be followed: a channel is signed, and published beside releases",
            hint="set release.signature, and release.source or release.host in place of release.tarball",
        )
    depot = open_source(source, retry)
    key = read_input(pinned.public_key_file, limit=MAX_KEY_BYTES)
    try:
        pointer = read_pointer(depot, channel, where=depot.where, form=pinned.format, public_key=key)
    except SignatureError as error:
        named = f"{error.message} (the key is {pinned.public_key_file})"
        raise SignatureError(named, hint=error.hint or "nothing was staged") from error
    check_pointer(store, pointer, where=depot.where)
    wanted = replace(settings, source=replace(source, tag=pointer.tag))
    return Followed(pointer=pointer, settings=wanted, where=depot.where)


def list_group_channels(settings: NetbootSettings) -> list[str] | None:
    """The channels that groups of the fleet follow, its file's too; None where that file cannot be used.

    A warning says so, and what is current is staged all the same.
    """
    try:
        fleet = load_whole(settings.fleet.part, settings.fleet.file)
    except EcError as error:
        _log.warning("the fleet's channels are not followed: its file cannot be used", reason=error.message)
        return None
    return sorted({group.channel for group in fleet.groups.values() if group.channel is not None})


def bind_sums(published: Published, pointer: ChannelPointer | None) -> Published:
    """``published``, of which only the sums are taken that the pointer names."""
    if pointer is None:
        return published
    return replace(published, read=_read_bound(published, pointer))


def _read_bound(published: Published, pointer: ChannelPointer) -> Callable[[str, int], bytes | None]:
    def read(name: str, limit: int) -> bytes | None:
        data = published.read(name, limit)
        if name != SUMS_NAME:
            return data
        if data is None or hashlib.sha256(data).hexdigest() != pointer.sums:
            fault = "is missing" if data is None else "is another one"
            raise ChannelError(
                f"{published.where}: {SUMS_NAME} {fault}: not what the channel {pointer.channel} leads to",
                hint="a published release was changed, or what stands in between shows another one",
            )
        return data

    return read
