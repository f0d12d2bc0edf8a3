"""What several boot hosts share: where, by which right, and what stands where two of them have written."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ectools.capabilities import Capability, raised
from ectools.credentials import find_secret
from ectools.files import read_input
from ectools.netboot.boots.merge import choose_kept
from ectools.netboot.rollout.encode import decode_rollout
from ectools.netboot.rollout.kept import ROLLOUTS
from ectools.netboot.settings.model import NETBOOT_OPTIONS
from ectools.netboot.state.nats_access import (
    MAX_CREDENTIAL_BYTES,
    NATS_CREDENTIALS,
    NO_CREDENTIALS,
    build_tls,
    parse_nats_credentials,
)
from ectools.netboot.state.shared import SHARED_FILE, SharedStore
from ectools.netboot.state.shared_link import SharedLink
from ectools.netboot.state.sqlite import STATE_FILE, SqliteStore
from ectools.privileges import root_reads

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from ectools.netboot.settings.model import NetbootSettings
    from ectools.netboot.state.copy_place import UnsaidEntry
    from ectools.netboot.state.interface import StateEntry
    from ectools.netboot.state.nats_access import NatsAddress, NatsCredentials
    from ectools.netboot.state.nats_bucket import NatsBucket
    from ectools.netboot.state.shared_clock import SharedClock

HOSTS = "hosts/"
"""What keys of the store begin with under which hosts say that they are there."""
_BOOTS = ("latest/", "boots/")


@dataclass(frozen=True, kw_only=True)
class SharedPlan:
    """``name`` is this host's, and no other's."""

    address: NatsAddress
    name: str
    credentials: NatsCredentials = field(default=NO_CREDENTIALS, repr=False)
    tls: ssl.SSLContext | None = None


def prepare_shared(settings: NetbootSettings) -> SharedPlan | None:
    """None where this host remembers for itself. Raises FileError, InputError, which show no secret."""
    address = settings.fleet.state
    if address is None:
        return None
    return SharedPlan(
        address=address,
        name=name_host(settings),
        credentials=_read_credentials(address),
        tls=build_tls(address),
    )


def name_host(settings: NetbootSettings) -> str:
    """What this boot host is called among others."""
    return settings.fleet.host_name or socket.gethostname().partition(".")[0] or "boot"


def open_shared_store(
    directory: Path,
    plan: SharedPlan,
    *,
    clock: SharedClock,
    measure: Callable[[NatsBucket], Awaitable[None]],
) -> tuple[SharedStore, SharedLink]:
    """The store whose copy is below ``directory``, and what keeps it linked to the others. ``measure`` is as
    in ``SharedLink``.
    """
    store = SharedStore(SqliteStore(directory / SHARED_FILE, clock=clock), reconcile=reconcile, clock=clock)
    link = SharedLink(
        store,
        plan.address,
        credentials=lambda: plan.credentials,
        tls=plan.tls,
        name=f"every-channel-netboot {plan.name}",
        clock=clock,
        measure=measure,
    )
    return store, link


def reconcile(key: str, theirs: StateEntry, mine: UnsaidEntry) -> Mapping[str, Any] | None:
    """What is to stand of a key that others have written since this host heard of it; None: ``theirs``."""
    if mine.value is None:
        return None
    if key.startswith(_BOOTS):
        return choose_kept(key, mine.value, theirs.value)
    if key.startswith(HOSTS):
        return mine.value
    if key.startswith(ROLLOUTS) and (ended := _find_ended(mine.value, theirs.value)) is not None:
        return ended if ended is mine.value else None
    # It was decided with the others once, and is said again because they have lost it.
    return mine.value if mine.changed > theirs.changed else None


def _find_ended(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Of two views of one rollout the only one that has ended: it never goes on, whoever wrote last."""
    try:
        rollouts = decode_rollout(mine), decode_rollout(theirs)
    except ValueError:
        return None
    ends = [raw for raw, each in zip((mine, theirs), rollouts, strict=True) if each.has_ended]
    is_same = rollouts[0].plan.id == rollouts[1].plan.id
    return ends[0] if is_same and len(ends) == 1 else None


async def take_over(directory: Path, store: SharedStore) -> int:
    """How many entries that this host has for itself go into a copy that is new. Raises StateError."""
    if store.copy.place.at or not (directory / STATE_FILE).exists():
        return 0
    before = SqliteStore(directory / STATE_FILE)
    await before.start()
    try:
        return await store.bring(await before.list(""))
    finally:
        await before.close()


def _read_credentials(address: NatsAddress) -> NatsCredentials:
    file = address.credentials_file
    if file is None:
        return NO_CREDENTIALS
    with raised(Capability.DAC_READ_SEARCH):  # the service manager's copy may lie where only root looks
        file = find_secret(file, credential=NATS_CREDENTIALS)
    with root_reads(file):
        data = read_input(file, limit=MAX_CREDENTIAL_BYTES)
    option = f"{NETBOOT_OPTIONS}.fleet.stateCredentialsFile"
    return parse_nats_credentials(data.decode("utf-8", "replace"), option=option)
