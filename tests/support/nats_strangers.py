"""Somebody who may write what boot hosts share, and writes whatever: over a connection of its own."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import nats

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nats.js import JetStreamContext


class NatsStranger:
    """``bucket`` is there already."""

    def __init__(self, jetstream: JetStreamContext, bucket: str) -> None:
        self._jetstream = jetstream
        self._bucket = bucket

    async def put(self, subject: str, payload: bytes | Any) -> None:
        """A key's subject: ``latest.0`` is the key ``latest/0``."""
        await self._jetstream.publish(f"$KV.{self._bucket}.{subject}", _encode(payload))

    async def delete(self, subject: str) -> None:
        await self._jetstream.publish(f"$KV.{self._bucket}.{subject}", b"", headers={"KV-Operation": "DEL"})

    async def append(self, payload: bytes | Any) -> None:
        """To the stream of events."""
        await self._jetstream.publish(f"{self._bucket}-events", _encode(payload))


@contextlib.asynccontextmanager
async def open_stranger(url: str, bucket: str) -> AsyncIterator[NatsStranger]:
    """For the length of the block."""
    client = await nats.connect(url)
    try:
        yield NatsStranger(client.jetstream(), bucket)
    finally:
        await client.close()


def _encode(payload: bytes | Any) -> bytes:
    return payload if isinstance(payload, bytes) else json.dumps(payload).encode()
