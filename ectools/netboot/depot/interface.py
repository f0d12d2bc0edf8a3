"""What can be done in a depot, whichever it is, and how it fails."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ectools.errors import EcError, InputError

if TYPE_CHECKING:
    from pathlib import Path

DEPOT_RELEASES = "releases"
DEPOT_CHANNELS = "channels"
RECORD_NAME = "release.json"
"""What is published last of a release: it says that all is there."""
MAX_RECORD_BYTES = 16 << 20
MAX_CHANNEL_BYTES = 256 << 10
CHANNEL_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", re.ASCII)
TAG_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}", re.ASCII)
"""As ``ectools netboot pack`` takes it: a directory's name, and a word of a URL."""


class DepotError(EcError):
    """A depot does not do what is asked of it."""


class TakenError(DepotError):
    """Something else is published there under that name; nothing of it was changed."""


class MovedError(DepotError):
    """A channel was moved meanwhile by somebody else; it is as they have it."""


@dataclass(frozen=True, kw_only=True)
class PublishedFile:
    """A file to be published. ``size`` is in bytes, ``sha256`` in lower-case hexadecimal."""

    name: str
    path: Path
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Publication:
    """All files of a release, in the order in which they are put up.

    The first one, the published sums, names all content: who has put it up has the tag. The last one is the
    record, RECORD_NAME.
    """

    tag: str
    files: tuple[PublishedFile, ...]


@dataclass(frozen=True, kw_only=True)
class ChannelFile:
    """A channel's file as it stands there. ``version`` is what it is replaced by: another one's is none."""

    data: bytes
    version: str


class Depot(Protocol):
    """A depot. Each of these raises EcError where it cannot be reached, or says no."""

    def publish(self, publication: Publication) -> bool:
        """Whether it is published now by this; False: it was, the same. Raises TakenError for another one.

        Whatever is killed when, nobody finds a part of a release that has its record.
        """

    def read_file(self, tag: str, name: str, *, limit: int) -> bytes | None:
        """A small file of a release, of at most ``limit`` bytes; None where there is none."""

    def read_channel(self, name: str) -> ChannelFile | None:
        """A channel's file; None where there is none."""

    def write_channel(self, name: str, data: bytes, *, version: str | None) -> None:
        """Put a channel's file in place of the one of that version; None: there was none.

        Raises MovedError where there is another by now, also where that was written at the same moment.
        """


def check_channel_name(name: str) -> str:
    """The name of a channel. Raises InputError."""
    if CHANNEL_NAME.fullmatch(name) is None:
        raise InputError(
            f"{name!r}: is no channel's name",
            hint="letters, digits and . _ - within, 63 at most: stable",
        )
    return name


def check_tag_name(tag: str) -> str:
    """A tag that a directory can be called. Raises InputError."""
    if TAG_NAME.fullmatch(tag) is None:
        raise InputError(
            f"{tag!r}: is no tag for a release",
            hint="letters, digits and . _ + -, 128 at most: boot-v2026.03.02",
        )
    return tag


def taken(where: str, tag: str) -> TakenError:
    """What is said where another release has the tag."""
    return TakenError(
        f"{where}: another release is published as {tag}, or is on its way there",
        hint="a release that is published never changes: publish this one under another tag",
    )


def moved(where: str, name: str) -> MovedError:
    """What is said where somebody else was faster."""
    return MovedError(
        f"{where}: the channel {name} was moved meanwhile by somebody else; it is as they have it",
        hint="look where it leads now, and promote again where it still should",
    )
