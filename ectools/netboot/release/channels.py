"""What a boot host has seen of channels: the highest counter of each, and the release that it staged for it.

A pointer that was signed once is signed for ever. Whoever holds the store can show an old one again, and with
it an old release; so a host keeps the counter of what it has followed, in ``channels/<name>``, and refuses
less. A counter is kept before anything is staged for it, and stays where a channel is followed no more.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ectools.errors import EcError, InputError
from ectools.files import FileError, parse_json, read_regular, sync_directory, write_atomic
from ectools.netboot.depot.channel import ChannelError, ChannelPointer, open_pointer
from ectools.netboot.depot.interface import CHANNEL_NAME, MAX_CHANNEL_BYTES
from ectools.netboot.release.manifest import ID_PATTERN
from ectools.netboot.release.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from ectools.netboot.depot.interface import Depot
    from ectools.netboot.release.store import ReleaseStore
    from ectools.netboot.settings.model import SignatureFormat

_MAX_BYTES = 4096
_SHA256 = re.compile(r"[0-9a-f]{64}")


class OlderPointerError(EcError):
    """A channel is shown as it was before, or as it never was."""


@dataclass(frozen=True, kw_only=True)
class KnownChannel:
    """The highest counter that was seen, and what it led to; ``release`` is the id that is staged for it.

    None: none is as yet. Where another pointer is on its way, it is the one before's. ``release_counter`` is
    the counter of the pointer that led to ``release``; None: the version that staged it kept none.
    """

    counter: int
    tag: str
    sums: str
    release: str | None
    release_counter: int | None = None


def read_pointer(
    depot: Depot, name: str, *, where: str, form: SignatureFormat, public_key: bytes
) -> ChannelPointer:
    """Where a depot says that a channel leads, signed by the pinned key, and in time.

    Raises ChannelError, SignatureError, and what the depot raises.
    """
    shown = f"{where}: the channel {name}"
    found = depot.read_channel(name)
    if found is None:
        raise ChannelError(f"{shown}: there is none", hint=f"`ectools netboot promote TAG {name}` makes it")
    pointer = open_pointer(found.data, name, form=form, public_key=public_key, where=shown)
    if pointer.expires_at is not None and pointer.expires_at <= time.time():
        raise ChannelError(
            f"{shown}: has expired, and leads nowhere any more",
            hint="its publisher has stopped, or somebody withholds what is newer; what is current stays so",
        )
    return pointer


def check_pointer(store: ReleaseStore, pointer: ChannelPointer, *, where: str) -> None:
    """Raises OlderPointerError where this host has seen more of the channel than ``pointer`` counts."""
    known = read_known(store, pointer.channel)
    if known is None:
        return
    if pointer.counter < known.counter:
        raise OlderPointerError(
            f"{where}: the channel {pointer.channel} is shown as it was: its counter is {pointer.counter}, "
            f"and {known.counter} was seen, which led to {known.tag}",
            hint="an old pointer was put back, by a backup or by somebody: its publisher promotes once more",
        )
    if pointer.counter == known.counter and (pointer.tag, pointer.sums) != (known.tag, known.sums):
        raise OlderPointerError(
            f"{where}: the channel {pointer.channel} has led to {known.tag} with the counter "
            f"{pointer.counter}, and leads to {pointer.tag} with the same",
            hint="two pointers were signed for one move: its publisher promotes once more",
        )


def note_pointer(store: ReleaseStore, pointer: ChannelPointer, *, where: str) -> None:
    """Keep a pointer's counter, before anything is done about it. Only under the lock.

    Raises OlderPointerError as ``check_pointer`` does, OSError, FileError, StoreError.
    """
    check_pointer(store, pointer, where=where)
    known = read_known(store, pointer.channel)
    seen = KnownChannel(
        counter=pointer.counter,
        tag=pointer.tag,
        sums=pointer.sums,
        release=None if known is None else known.release,
        release_counter=None if known is None else known.release_counter,
    )
    if seen != known:
        _write(store, pointer.channel, seen)


def note_staged(store: ReleaseStore, pointer: ChannelPointer, release_id: str) -> None:
    """Let who follows the channel have this release from now on, and nodes the pointer. Only under the lock.

    Nothing is done where another pointer was seen meanwhile. Raises OSError, FileError, StoreError.
    """
    known = read_known(store, pointer.channel)
    if known is None or known.counter != pointer.counter:
        return
    staged = replace(known, release=release_id, release_counter=pointer.counter)
    if staged != known:
        _write(store, pointer.channel, staged)
    if pointer.envelope:
        write_atomic(_name_envelope(store, pointer.channel), pointer.envelope)


def find_envelope(store: ReleaseStore, name: str) -> bytes | None:
    """The signed pointer of what is staged for a channel, as its publisher made it; None where there is none.

    Raises FileError.
    """
    if CHANNEL_NAME.fullmatch(name) is None:
        return None
    try:
        return read_regular(_name_envelope(store, name), limit=MAX_CHANNEL_BYTES, follow=False)
    except FileError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise


def _name_envelope(store: ReleaseStore, channel: str) -> Path:
    # No channel's name begins so.
    return store.channels_dir / f".{channel}.pointer"


def forget_others(store: ReleaseStore, followed: Collection[str]) -> None:
    """Let go the releases of channels that are followed no more; the counters stay. Only under the lock."""
    for name in list_followed(store):
        known = read_known(store, name)
        if name not in followed and known is not None:
            _write(store, name, replace(known, release=None))


def list_followed(store: ReleaseStore) -> dict[str, str]:
    """The channels for which a release is staged → its id. Raises FileError, StoreError."""
    try:
        names = sorted(path.name for path in store.channels_dir.iterdir())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise FileError(f"{store.channels_dir}: cannot be read: {error.strerror}") from error
    found = {name: find_followed(store, name) for name in names if CHANNEL_NAME.fullmatch(name)}
    return {name: release_id for name, release_id in found.items() if release_id is not None}


def find_followed(store: ReleaseStore, name: str) -> str | None:
    """The id of the release that is staged for a channel; None where there is none."""
    known = read_known(store, name) if CHANNEL_NAME.fullmatch(name) else None
    return None if known is None else known.release


def read_known(store: ReleaseStore, name: str) -> KnownChannel | None:
    """What was seen of a channel; None where nothing was. Raises FileError, StoreError."""
    path = store.channels_dir / name
    try:
        data = read_regular(path, limit=_MAX_BYTES, follow=False)
    except FileError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise
    return _parse(data, path)


def _parse(data: bytes, path: Path) -> KnownChannel:
    # Not taken for none: then an old pointer would be good again.
    bad = StoreError(
        f"{path}: is no record of a channel", hint="ectools makes it; without it, its counter is lost"
    )
    try:
        raw: Any = parse_json(data, where=str(path))
        known = KnownChannel(
            counter=raw["counter"],
            tag=raw["tag"],
            sums=raw["sums"],
            release=raw["release"],
            release_counter=raw.get("release_counter"),
        )
        is_good = (
            type(known.counter) is int
            and (known.release_counter is None or type(known.release_counter) is int)
            and isinstance(known.tag, str)
            and _SHA256.fullmatch(known.sums) is not None
            and (known.release is None or ID_PATTERN.fullmatch(known.release) is not None)
        )
    except (InputError, KeyError, TypeError) as error:
        raise bad from error
    if not is_good:
        raise bad
    return known


def _write(store: ReleaseStore, name: str, known: KnownChannel) -> None:
    if not store.channels_dir.is_dir():
        store.channels_dir.mkdir(mode=0o755)
        sync_directory(store.state_dir)
    write_atomic(store.channels_dir / name, json.dumps(vars(known)).encode() + b"\n")
