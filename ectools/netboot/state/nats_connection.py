"""A connection to a NATS server, that is not mended: whatever the server says against it is its end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ectools.netboot.state.connection_end import ConnectionEnd
from ectools.netboot.state.interface import StateError
from ectools.netboot.state.nats_bucket import NatsBucket, explain_trouble
from ectools.netboot.state.unreadable import UnreadableLog

if TYPE_CHECKING:
    import ssl

    from ectools.netboot.state.nats_access import NatsAddress, NatsCredentials

CONNECT_SECONDS = 2
_PING_SECONDS = 5


async def open_bucket(
    address: NatsAddress,
    server: str,
    credentials: NatsCredentials,
    tls: ssl.SSLContext | None,
    *,
    name: str,
    unreadable: UnreadableLog | None = None,
) -> NatsBucket:
    """A connection to one of the servers, in a few seconds. ``name`` is what the server's own lists show.

    Raises StateUnreachableError, and StateError where nats-py is missing.
    """
    try:
        import nats.errors
        import nats.js.errors

        from ectools.netboot.state.nats_client import make_client
    except ImportError as error:
        raise StateError(
            "fleet.state: the Python package nats-py is needed for it, and is not here",
            hint="in nixpkgs python3Packages.nats-py, with pip `pip install 'ectools[nats]'`",
        ) from error
    closed = ConnectionEnd()

    async def note_error(error: Exception) -> None:
        closed.set(str(error) or type(error).__name__)

    async def note_end() -> None:
        closed.set()

    client = make_client(is_encrypted=tls is not None)
    bucket = NatsBucket(client, address.bucket, unreadable or UnreadableLog(), closed)
    try:
        async with asyncio.timeout(3 * CONNECT_SECONDS):
            await client.connect(
                server,
                name=name,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=CONNECT_SECONDS,
                ping_interval=_PING_SECONDS,
                max_outstanding_pings=2,
                tls=tls,
                error_cb=note_error,
                closed_cb=note_end,
                disconnected_cb=note_end,
                **credentials.arguments,
            )
        await bucket.prepare()
    except (nats.errors.Error, OSError, TimeoutError, ValueError) as error:
        await bucket.close()  # nats-py leaves open what it could not use
        raise explain_trouble(error) from error
    except BaseException:
        await bucket.close()
        raise
    return bucket
