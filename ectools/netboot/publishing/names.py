"""One name in a depot, one meaning: a release's tag or a channel, since who promotes says either by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.errors import InputError
from ectools.fetch.client import FetchError
from ectools.netboot.depot.interface import CHANNEL_NAME, MAX_RECORD_BYTES, RECORD_NAME

if TYPE_CHECKING:
    from ectools.netboot.depot.interface import Depot


def is_published(depot: Depot, tag: str) -> bool:
    """Whether a release of that tag was published there by ``publish``: a forge has others, of software."""
    try:
        return depot.read_file(tag, RECORD_NAME, limit=MAX_RECORD_BYTES) is not None
    except FetchError as error:
        if error.status != 404:
            raise
        return False


def check_no_tag(depot: Depot, channel: str, *, where: str) -> None:
    """A channel that is to be led is no published release's tag. Raises InputError."""
    if is_published(depot, channel):
        raise InputError(
            f"{where}: {channel} is the tag of a published release: no channel can be called so",
            hint="the channel comes last: ectools netboot promote TAG CHANNEL",
        )


def check_no_channel(depot: Depot, tag: str, *, where: str) -> None:
    """A release that is to be published is not called as a channel. Raises InputError."""
    if CHANNEL_NAME.fullmatch(tag) is None:
        return
    try:
        found = depot.read_channel(tag)
    except FetchError as error:
        # Amazon's answer for what is not there, to whoever may not list; before the first release of a
        # depot, nothing says that it means no more (``depot.objects``).
        if error.status != 403:
            raise
        return
    if found is not None:
        raise InputError(
            f"{where}: {tag} is a channel there: no release can be published under that tag",
            hint="publish it under another one: boot-v2026.03.02",
        )
