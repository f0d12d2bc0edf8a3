"""Changes as they happen, as server-sent events (WHATWG HTML, 9.2): ``boot`` with the row of the node that
has changed, ``rollout`` with the group whose rollout has, ``reset`` where some were missed and all is looked
at anew.

The row of a node is made once for all readers. Each reader has its own bounded list of the nodes that have
changed, each once, however often it did: who reads slowly gets fewer rows, and never old ones. The last event
of those that are sent together has an id, which names what was seen by then: a reader that comes again with
another one (``Last-Event-ID``), or that was cut off before it, is told to look at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from typing import TYPE_CHECKING

from aiohttp import web

from ectools.netboot.api.answers import answer_json
from ectools.netboot.api.connections import BoundedProtocol
from ectools.netboot.api.event_rows import EventRows
from ectools.netboot.http.slots import Slots, Use, share_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ectools.netboot.api.view import FleetView

MAX_READERS = 64
"""Of both listeners together."""
MAX_PENDING = 2048
"""Nodes of which a reader is to be told; of more it looks at all."""
HEARTBEAT_SECONDS = 15.0
"""Between two bytes at most: what stands between, and the reader, see that the connection lives."""
BATCH_SECONDS = 0.1
"""What changes together is sent together."""
_RETRY_MILLISECONDS = 3000


class EventReader:
    """What one reader has not been told of yet."""

    def __init__(self) -> None:
        self._pending: dict[str, None] = {}
        self._groups: dict[str, None] = {}
        self._has_missed = False
        self._woken = asyncio.Event()
        self.is_over = False

    def add(self, subject: str | None) -> None:
        """A node has changed; None: any of them may have."""
        if subject is None or (subject not in self._pending and len(self._pending) >= MAX_PENDING):
            self._pending.clear()
            self._has_missed = True
        elif not self._has_missed:
            self._pending[subject] = None
        self._woken.set()

    def add_rollout(self, group: str) -> None:
        """The rollout of a group has changed."""
        if group not in self._groups and len(self._groups) >= MAX_PENDING:
            self.add(None)
            return
        self._groups[group] = None
        self._woken.set()

    def end(self) -> None:
        """There is nobody who reads, or nothing more to read."""
        self.is_over = True
        self._woken.set()

    async def wait(self) -> None:
        """Until there is something to be told, or the end."""
        await self._woken.wait()

    def take(self) -> tuple[list[str], list[str], bool]:
        """The nodes that have changed, the groups whose rollouts have, and whether others may have too; told
        from now on.
        """
        taken = list(self._pending), list(self._groups), self._has_missed
        self._pending, self._groups, self._has_missed = {}, {}, False
        if not self.is_over:
            self._woken.clear()
        return taken


class EventHub:
    """The changes of one boot server, for all readers. ``run`` takes them from where they happen."""

    def __init__(self, view: FleetView) -> None:
        self._view = view
        self._readers: set[EventReader] = set()
        self._slots: Slots[EventReader] = Slots(MAX_READERS)
        self._instance = secrets.token_hex(4)
        self._sequence = 0
        self.rows = EventRows(view)
        """The rows of those that have changed."""
        view.fleet.on_change.append(self.publish)
        view.rollouts.on_change.append(self.publish_rollout)

    @property
    def last_id(self) -> str:
        """The id of the newest event."""
        return f"{self._instance}-{self._sequence}"

    async def run(self) -> None:
        """Take over what becomes of boots; until cancelled."""
        async for boot in self._view.boots.changes():
            self.publish(None if boot is None else boot.subject)

    def publish(self, subject: str | None) -> None:
        """A node has changed; None: any of them may have."""
        self._sequence += 1
        self.rows.forget(subject)
        for reader in self._readers:
            reader.add(subject)

    def publish_rollout(self, group: str) -> None:
        """The rollout of a group has changed."""
        self._sequence += 1
        self.rows.forget(None)  # it says what the group's nodes boot next
        for reader in self._readers:
            reader.add_rollout(group)

    def close(self) -> None:
        """No more is read."""
        for reader in list(self._readers):
            reader.end()

    @contextlib.contextmanager
    def open(self, address: str | None = None) -> Iterator[EventReader | None]:
        """A reader for the length of the block; None where there are as many as there may be.

        Then one of the ``address`` that has the most ends for one of an address that has fewer.
        """
        share = share_of(address) if address else None
        has_room, other = self._slots.find_room(share)
        if not has_room:
            yield None
            return
        if other is not None:
            self._leave(other)
            other.end()
        reader = EventReader()
        self._readers.add(reader)
        self._slots.add(reader, share)
        self._slots.use(reader, Use.WORK)  # of one address none makes room for another
        try:
            yield reader
        finally:
            self._leave(reader)

    def _leave(self, reader: EventReader) -> None:
        self._readers.discard(reader)
        self._slots.remove(reader)


def add_events(app: web.Application, view: FleetView, hub: EventHub) -> None:
    """The route of those who want to know at once."""

    async def send(request: web.Request) -> web.StreamResponse:
        return await _send_events(request, view, hub)

    app.router.add_get("/api/v1/events", send, allow_head=False)


async def _send_events(request: web.Request, view: FleetView, hub: EventHub) -> web.StreamResponse:
    with hub.open(request.remote) as reader:
        if reader is None:
            answer = answer_json(
                {"error": f"{MAX_READERS} read events already", "hint": "come again", "problems": []},
                status=503,
            )
            answer.headers["Retry-After"] = "10"
            return answer
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}
        )
        seen = request.headers.get("Last-Event-ID")
        if seen is not None and seen != hub.last_id:
            reader.add(None)
        protocol = request.transport.get_protocol() if request.transport is not None else None
        if isinstance(protocol, BoundedProtocol):
            protocol.on_lost = reader.end
        with contextlib.suppress(ConnectionError, TimeoutError):
            await response.prepare(request)
            await _write(response, f"retry: {_RETRY_MILLISECONDS}\n: {hub.last_id}\n\n")
            while not reader.is_over:
                await _write(response, await _wait_for_events(view, hub, reader))
        return response


async def _wait_for_events(view: FleetView, hub: EventHub, reader: EventReader) -> str:
    """The next events as text, or a comment where nothing has happened for a while."""
    try:
        async with asyncio.timeout(HEARTBEAT_SECONDS):
            await reader.wait()
    except TimeoutError:
        return ":\n\n"
    if not reader.is_over:
        await asyncio.sleep(BATCH_SECONDS)
    # What happens from now on is not in them, and its id is a later one.
    (subjects, groups, has_missed), last_id = reader.take(), hub.last_id
    # What is gone is in no row.
    if has_missed or not all(hub.rows.is_listed(each) for each in subjects):
        return f"event: reset\nid: {last_id}\ndata: {{}}\n\n"
    releases = await view.releases.list()
    events = [("boot", hub.rows.render(subject, releases)) for subject in subjects]
    events += [("rollout", json.dumps({"group": group})) for group in groups]
    ids = [*[""] * (len(events) - 1), f"id: {last_id}\n"]
    return "".join(
        f"event: {kind}\n{line}data: {data}\n\n" for (kind, data), line in zip(events, ids, strict=False)
    )


async def _write(response: web.StreamResponse, text: str) -> None:
    """Who reads nothing for a while is let go by its connection."""
    await response.write(text.encode())
