"""A channel: a signed pointer to a release, with a counter, so that an old one is never the newest again.

The file is a DSSE envelope of ``{format: 1, channel, counter, tag, sums, moved_at, expires_at,
withdrawn}``: ``sums`` is the SHA-256 of the release's SHA256SUMS.txt, which names all its content; times are
in seconds since 1970; ``expires_at`` may be null; ``withdrawn`` are tags, and missing where there are none.
Signature and pointer are one file, because no store replaces two at once. A node reads it by a pattern of the
whole text (nix/modules/follow-trust.sh): another order of the fields, or other blanks, are another format.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ectools.errors import EcError, InputError
from ectools.files import parse_json
from ectools.netboot.depot.interface import CHANNEL_NAME, TAG_NAME
from ectools.netboot.signature.dsse import open_envelope, seal_envelope

if TYPE_CHECKING:
    from ectools.netboot.settings.model import SignatureFormat

CHANNEL_TYPE = "application/vnd.every-channel.netboot-channel+json"
_FORMAT = 1
_SHA256 = re.compile(r"[0-9a-f]{64}")
MAX_WITHDRAWN = 64
_MAX_COUNTER = 2**53
"""What a number of JSON holds exactly everywhere (RFC 8259, section 6)."""


class ChannelError(EcError):
    """A channel's file is not what it has to be."""


@dataclass(frozen=True, kw_only=True)
class ChannelPointer:
    """Where a channel leads. ``counter`` grows with each move; ``sums`` is the SHA-256 of SHA256SUMS.txt.

    ``moved_at`` and ``expires_at`` are in seconds since 1970; the latter is None where it stays good.
    ``withdrawn`` are tags to which nobody is to go, and from which nodes go back. ``envelope`` is the file
    that it was read from.
    """

    channel: str
    counter: int
    tag: str
    sums: str
    moved_at: int
    expires_at: int | None = None
    withdrawn: tuple[str, ...] = ()
    envelope: bytes = field(default=b"", repr=False, compare=False)


def seal_pointer(pointer: ChannelPointer, *, form: SignatureFormat, private_key: bytes) -> bytes:
    """The file of a channel. Raises SignatureError."""
    fields = {name: value for name, value in vars(pointer).items() if name != "envelope"}
    if not pointer.withdrawn:
        del fields["withdrawn"]
    payload = json.dumps({"format": _FORMAT, **fields}, sort_keys=True).encode()
    return seal_envelope(CHANNEL_TYPE, payload, form=form, private_key=private_key)


def open_pointer(
    data: bytes, name: str, *, form: SignatureFormat, public_key: bytes, where: str
) -> ChannelPointer:
    """The pointer in the file of the channel ``name``, signed by the key.

    Raises SignatureError, ChannelError.
    """
    payload = open_envelope(data, CHANNEL_TYPE, form=form, public_key=public_key, where=where)
    pointer = _parse(payload, where)
    if pointer.channel != name:
        raise ChannelError(
            f"{where}: is signed as the channel {pointer.channel}, and {name} was asked for",
            hint="somebody has put one channel's file in another's place",
        )
    return replace(pointer, envelope=data)


def _parse(payload: bytes, where: str) -> ChannelPointer:
    bad = ChannelError(f"{where}: is signed, and no pointer that is understood here")
    try:
        raw = parse_json(payload, where=where)
    except InputError as error:
        raise bad from error
    if not isinstance(raw, dict) or raw.get("format") != _FORMAT:
        bad.hint = "its publisher may have a newer ectools than this one"
        raise bad
    pointer = ChannelPointer(
        channel=_text(raw, "channel"),
        counter=_number(raw, "counter") or 0,
        tag=_text(raw, "tag"),
        sums=_text(raw, "sums"),
        moved_at=_number(raw, "moved_at") or 0,
        expires_at=_number(raw, "expires_at"),
        withdrawn=_texts(raw, "withdrawn"),
    )
    is_good = (
        CHANNEL_NAME.fullmatch(pointer.channel)
        and TAG_NAME.fullmatch(pointer.tag)
        and _SHA256.fullmatch(pointer.sums)
        and all(TAG_NAME.fullmatch(tag) for tag in pointer.withdrawn)
        and len(pointer.withdrawn) <= MAX_WITHDRAWN
        and pointer.counter > 0
        and pointer.moved_at > 0
    )
    if not is_good:
        raise bad
    return pointer


def _text(raw: dict[str, Any], name: str) -> str:
    value = raw.get(name)
    return value if isinstance(value, str) else ""


def _texts(raw: dict[str, Any], name: str) -> tuple[str, ...]:
    value = raw.get(name, [])
    # What is no list of texts is no list of tags either.
    return tuple(value) if isinstance(value, list) and all(isinstance(each, str) for each in value) else ("",)


def _number(raw: dict[str, Any], name: str) -> int | None:
    value = raw.get(name)
    return value if type(value) is int and 0 < value < _MAX_COUNTER else None
