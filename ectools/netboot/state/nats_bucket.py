"""A bucket of NATS JetStream, and the stream of events beside it, over one connection that is not mended.

Keys stand as `NATS's key-value store has them <https://docs.nats.io/nats-concepts/jetstream/key-value-store>`_,
for ``nats kv`` to read: the stream ``KV_<bucket>``, a subject a key, a message's sequence its revision. ``/``
of a key is ``.`` there, and ``.`` is ``=``. A value is ``{"t": Unix seconds, "v": value}``, a mark of what
was deleted ``{"t": Unix seconds}``. Events are the stream ``<bucket>-events``, whose server leaves out what
was sent twice by its ``Nats-Msg-Id``.

The connection ends with its first trouble: whoever uses it makes another one, and goes on from the last
sequence. nats-py's own reconnecting keeps what was published meanwhile, and would say it when it is too late.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ectools.netboot.state.decode import need_mapping, need_text, parse_object, read_count, read_time
from ectools.netboot.state.entries import is_key, read_deletion, read_event
from ectools.netboot.state.interface import (
    MAX_EVENTS,
    MAX_KEY_LENGTH,
    StateConflictError,
    StateEntry,
    StateUnreachableError,
)
from ectools.netboot.state.stream_end import name_after_loss

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence

    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

    from ectools.netboot.state.connection_end import ConnectionEnd
    from ectools.netboot.state.unreadable import UnreadableLog

CALL_SECONDS = 1.5
"""That one call has. A server that takes longer counts as one that cannot be reached."""
_DUPLICATE_SECONDS = 3600.0
_IDENTITY, _IDENTITY_LENGTH, _CLOCK = "meta.id", 512, "meta.clock"
_OPERATION, _MARKER, _EXPECTED = "KV-Operation", "Nats-Marker-Reason", "Nats-Expected-Last-Subject-Sequence"
_WRONG_SEQUENCE, _NOT_FOUND = frozenset({10071, 10164}), 404


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedChange:
    """A key that is another than before: ``value`` None: it is gone. ``left``: how many are behind it.

    ``taken``: when the server took it, of what it has sent.
    """

    key: str
    value: Mapping[str, Any] | None
    revision: int
    changed: float
    left: int
    taken: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedEvent:
    """An event as it was sent. ``fields`` None: it is none. ``sequence``, ``taken``: as the stream has it."""

    sequence: int
    fields: Mapping[str, Any] | None
    left: int
    taken: float = 0.0


class NatsBucket:
    """One connection's. Every call raises StateUnreachableError; then the connection is at its end.

    ``unreadable`` is told of what others have written and cannot be read.
    """

    def __init__(self, client: Client, bucket: str, unreadable: UnreadableLog, closed: ConnectionEnd) -> None:
        self._client = client
        self._unreadable = unreadable
        self._jetstream: JetStreamContext = client.jetstream(timeout=CALL_SECONDS)
        self._bucket = bucket
        self._stream = f"KV_{bucket}"
        self._events = f"{bucket}-events"
        self.closed = closed
        """Set when nothing more can be said over it."""

    async def get(self, key: str) -> StateEntry | None:
        """As ``StateStore.get``."""
        found = await self._get_message(_to_subject(self._bucket, key))
        if found is None or found[1] is None:
            return None
        value, changed = self._decode(key, found[1])
        return StateEntry(key=key, value=value, revision=found[0], changed=changed)

    async def find_revision(self, key: str) -> int | None:
        """That of a key, or of its mark where it was deleted; None where there is neither."""
        found = await self._get_message(_to_subject(self._bucket, key))
        return None if found is None else found[0]

    async def put(
        self, key: str, value: Mapping[str, Any] | None, *, changed: float, expected: int | None
    ) -> int:
        """As ``StateStore.put``, and ``delete`` where ``value`` is None. Raises StateConflictError too."""
        subject = _to_subject(self._bucket, key)
        payload = json.dumps({"t": changed} | ({} if value is None else {"v": value})).encode()
        headers = {} if value is not None else {_OPERATION: "DEL"}
        try:
            return await self._publish(subject, payload, headers, expected)
        except StateConflictError:
            if expected != 0:
                raise
        # What was deleted has left a mark, whose revision is the key's.
        found = await self._get_message(subject)
        if found is None or found[1] is not None:
            raise _conflict(key)
        if value is None:
            return found[0]  # it is deleted already
        return await self._publish(subject, payload, headers, found[0])

    async def append(self, fields: Mapping[str, Any], *, message_id: str) -> None:
        """An event more, unless one of that id was sent within the last hour."""
        async with self._speaking():
            await self._jetstream.publish(
                self._events, json.dumps(fields).encode(), headers={"Nats-Msg-Id": message_id}
            )

    async def identify(self) -> str:
        """What tells this bucket from one of the same name that was there before its servers lost it."""
        subject = f"$KV.{self._bucket}.{_IDENTITY}"
        for _ in range(2):
            found = await self._get_message(subject)
            if found is not None and found[1] is not None:
                return found[1][:_IDENTITY_LENGTH].decode("ascii", "replace")
            expected = 0 if found is None else found[0]
            with contextlib.suppress(StateConflictError):
                await self._publish(subject, secrets.token_hex(8).encode(), {}, expected)
        raise StateUnreachableError(f"{self._bucket}: its key {_IDENTITY} cannot be read")

    async def renew_identity(self, before: str, *, end: int) -> str:
        """From now on it is another bucket than ``before``: its servers have lost all behind ``end``."""
        subject = f"$KV.{self._bucket}.{_IDENTITY}"
        found = await self._get_message(subject)
        if found is not None and found[1] == before.encode():
            with contextlib.suppress(StateConflictError):  # another host has noticed it, too
                await self._publish(subject, name_after_loss(before, end).encode(), {}, found[0])
        return await self.identify()

    async def find_ends(self) -> tuple[int, int]:
        """The last sequences of its two streams."""
        async with self._speaking():
            entries = await self._jetstream.stream_info(self._stream)
            events = await self._jetstream.stream_info(self._events)
        return entries.state.last_seq, events.state.last_seq

    async def find_entry_from(self, sequence: int) -> tuple[int, float] | None:
        """The first message of the entries' from ``sequence`` on, and when the server took it."""
        return await self._ask_message(self._stream, seq=sequence, next_by_subj=f"$KV.{self._bucket}.>")

    async def find_event_from(self, sequence: int) -> tuple[int, float] | None:
        """As ``find_entry_from``, of events."""
        return await self._ask_message(self._events, seq=sequence, next_by_subj=self._events)

    async def ask_time(self) -> float | None:
        """Unix seconds of the server's, at a moment within this call; None where it was not to be had."""
        sequence = await self._publish(f"$KV.{self._bucket}.{_CLOCK}", b"", {}, None)
        found = await self._ask_message(self._stream, seq=sequence)
        return None if found is None else found[1]  # another host has asked just now, too

    async def forget_deleted(self, keys: Sequence[str]) -> None:
        """Take away the marks that deleted keys have left; who was away for long does not hear of them."""
        for key in keys:
            subject = _to_subject(self._bucket, key)
            found = await self._get_message(subject)
            if found is not None and found[1] is None:
                async with self._speaking():
                    # But what somebody has written there since.
                    await self._jetstream.purge_stream(self._stream, subject=subject, seq=found[0] + 1)

    async def follow(self, *, after: int) -> AsyncGenerator[SharedChange | None, None]:
        """Each change after a revision, in order; None once where there is nothing more for now."""
        async for message in self._listen(f"$KV.{self._bucket}.>", self._stream, after=after):
            if message is None:
                yield None
                continue
            place = message.metadata
            taken = place.timestamp.timestamp()
            value: Mapping[str, Any] | None
            key = self._find_key(message.subject)
            if not key:
                value, changed = None, 0.0
            elif _is_deletion(message.headers):
                value, changed = None, read_deletion(message.data, taken)
            else:
                value, changed = self._decode(key, message.data)
                changed = min(changed, taken)  # nobody writes ahead of the server's clock
            yield SharedChange(
                key=key,
                value=value,
                revision=place.sequence.stream,
                changed=changed,
                left=place.num_pending,
                taken=taken,
            )

    async def follow_events(self, *, after: int) -> AsyncGenerator[SharedEvent | None, None]:
        """As ``follow``, of events."""
        async for message in self._listen(self._events, self._events, after=after):
            if message is None:
                yield None
                continue
            place = message.metadata
            yield SharedEvent(
                sequence=place.sequence.stream,
                fields=self._decode_event(place.sequence.stream, message.data),
                left=place.num_pending,
                taken=place.timestamp.timestamp(),
            )

    async def close(self) -> None:
        """End the connection."""
        self.closed.set()
        with contextlib.suppress(Exception):  # nats-py raises whatever its sockets do
            async with asyncio.timeout(CALL_SECONDS):
                await self._client.close()

    async def prepare(self) -> None:
        """Make the streams, where nobody has made them, with more replicas for instance."""
        from nats.js.api import DiscardPolicy, StorageType, StreamConfig

        wanted = {
            self._stream: StreamConfig(
                name=self._stream,
                subjects=[f"$KV.{self._bucket}.>"],
                max_msgs_per_subject=1,
                allow_rollup_hdrs=True,
                deny_delete=True,
                storage=StorageType.FILE,
                discard=DiscardPolicy.NEW,
            ),
            self._events: StreamConfig(
                name=self._events,
                subjects=[self._events],
                max_msgs=MAX_EVENTS,
                duplicate_window=_DUPLICATE_SECONDS,
                storage=StorageType.FILE,
            ),
        }
        for name, config in wanted.items():
            if not await self._has_stream(name):
                async with self._speaking():
                    await self._jetstream.add_stream(config)

    def _decode(self, key: str, payload: bytes) -> tuple[Mapping[str, Any], float]:
        """Whatever somebody else has written there is no value: an empty one, of which nobody makes any."""
        try:
            found = parse_object(payload)
            value, changed = need_mapping(found.get("v"), "v"), read_time(found, "t")
        except ValueError as error:
            self._unreadable.tell(key, error)
            return {}, 0.0
        self._unreadable.forget(key)
        return value, changed

    def _decode_event(self, sequence: int, payload: bytes) -> Mapping[str, Any] | None:
        try:
            return read_event(parse_object(payload))
        except ValueError as error:
            self._unreadable.tell(f"{self._events} {sequence}", error)
            return None

    def _find_key(self, subject: str) -> str:
        """The key of a subject; empty for what is none of the program's."""
        name = subject.removeprefix(f"$KV.{self._bucket}.")
        key = name.replace(".", "/").replace("=", ".")
        if name in {_IDENTITY, _CLOCK}:
            return ""
        if not is_key(key):
            self._unreadable.tell(ascii(subject[:MAX_KEY_LENGTH]), "no key of the state")
            return ""
        return key

    async def _has_stream(self, name: str) -> bool:
        from nats.js.errors import NotFoundError

        async with self._speaking():
            try:
                await self._jetstream.stream_info(name)
            except NotFoundError:
                return False
        return True

    async def _get_message(self, subject: str) -> tuple[int, bytes | None] | None:
        """Revision and payload, None as payload of what is deleted; None where there never was any."""
        from nats.js.errors import NotFoundError

        async with self._speaking():
            try:
                found = await self._jetstream.get_last_msg(self._stream, subject)
            except NotFoundError:
                return None
        if found.seq is None:
            return None
        return found.seq, None if _is_deletion(found.headers) else found.data or b""

    async def _ask_message(self, stream: str, **which: str | int) -> tuple[int, float] | None:
        """Sequence and time of a message; None where there is none. What it says is not looked at."""
        async with self._speaking():
            # nats-py's own call leaves the time out, but for its newest versions.
            asked = f"$JS.API.STREAM.MSG.GET.{stream}", json.dumps(which).encode()
            answer = json.loads((await self._client.request(*asked, timeout=CALL_SECONDS)).data)
            if answer.get("error", {}).get("code") == _NOT_FOUND:
                return None
            found = need_mapping(answer.get("message"), "message")
            taken = datetime.datetime.fromisoformat(need_text(found.get("time"), "time"))
            return read_count(found, "seq", least=1), taken.timestamp()

    async def _publish(
        self, subject: str, payload: bytes, headers: Mapping[str, str], expected: int | None
    ) -> int:
        from nats.js.errors import APIError

        sent = {**headers, **({} if expected is None else {_EXPECTED: str(expected)})}
        async with self._speaking():
            try:
                answer = await self._jetstream.publish(subject, payload, headers=sent)
            except APIError as error:
                if error.err_code in _WRONG_SEQUENCE:
                    raise _conflict(subject) from error
                raise
        return answer.seq

    async def _listen(self, subject: str, stream: str, *, after: int) -> AsyncIterator[Msg | None]:
        from nats.js.api import ConsumerConfig, DeliverPolicy

        config = ConsumerConfig(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=after + 1)
        async with self._speaking():
            subscription = await self._jetstream.subscribe(
                subject, stream=stream, config=config, ordered_consumer=True
            )
            about = await subscription.consumer_info()
        is_behind = bool(about.num_pending) or bool(about.delivered and about.delivered.consumer_seq)
        if not is_behind:
            yield None
        try:
            async for message in subscription.messages:
                yield message
                if is_behind and message.metadata.num_pending == 0:
                    is_behind = False
                    yield None
        finally:
            with contextlib.suppress(Exception):  # it ends with its connection too
                await subscription.unsubscribe()

    @contextlib.asynccontextmanager
    async def _speaking(self) -> AsyncIterator[None]:
        """Whatever goes wrong with the connection, or the server, is StateUnreachableError, and its end."""
        import nats.errors
        import nats.js.errors

        if self.closed.is_set() or not self._client.is_connected:
            self.closed.set()
            raise self.closed.explain()
        try:
            async with asyncio.timeout(2 * CALL_SECONDS):
                yield
        except (nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError, ValueError) as error:
            trouble = explain_trouble(error)
            self.closed.set(trouble.message)
            raise trouble from error


def explain_trouble(error: Exception) -> StateUnreachableError:
    """What nats-py raised, in words that name no secret."""
    text = str(error) or type(error).__name__
    if isinstance(error, TimeoutError):
        text = "it does not answer"
    return StateUnreachableError(f"NATS cannot be used: {text}")


def _conflict(what: str) -> StateConflictError:
    return StateConflictError(
        f"{what}: has been changed meanwhile", hint="look at it again, and change what is there now"
    )


def _to_subject(bucket: str, key: str) -> str:
    return f"$KV.{bucket}.{key.replace('.', '=').replace('/', '.')}"


def _is_deletion(headers: Mapping[str, str] | None) -> bool:
    return headers is not None and (headers.get(_OPERATION) in {"DEL", "PURGE"} or _MARKER in headers)
