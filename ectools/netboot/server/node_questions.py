"""What nodes ask over HTTP: of their boot, of their next one, to begin that; and signed pointers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ectools import log
from ectools.files import FileError
from ectools.netboot.http.webroot import RejectedError
from ectools.netboot.release.channels import find_envelope

if TYPE_CHECKING:
    from ectools.netboot.http.handler import RequestInfo
    from ectools.netboot.release.store import ReleaseStore
    from ectools.netboot.server.next_boots import NextBoots
    from ectools.netboot.server.node_assignments import NodeAssignments
    from ectools.netboot.server.node_reports import NodeReports
    from ectools.netboot.server.policy import ServingPolicy

_log = log.Log(__name__)

_CHANNELS = b"channels"


class NodeQuestions:
    """Who answers them. ``reports`` None: nobody asks what becomes of a boot."""

    def __init__(self, store: ReleaseStore, reports: NodeReports | None) -> None:
        self._store = store
        self._reports = reports
        self._assignments: NodeAssignments | None = None
        self._next_boots: NextBoots | None = None

    def lead(self, assignments: NodeAssignments, next_boots: NextBoots) -> None:
        """Answer also what is next, by the fleet and its rollouts."""
        self._assignments = assignments
        self._next_boots = next_boots

    async def answer(self, info: RequestInfo, policy: ServingPolicy) -> bytes | None:
        """What is for the node alone that asks; None: it asks for something else. Raises RejectedError."""
        if self._reports is not None and self._reports.is_asked(info):
            return await self._reports.mark(info)
        if self._assignments is not None and self._assignments.is_asked(info):
            return await self._assignments.answer(info)
        if self._next_boots is not None and self._next_boots.is_asked(info):
            return await self._next_boots.answer(info, policy)
        return None

    async def find_pointer(self, info: RequestInfo) -> bytes | None:
        """A channel's signed pointer, by which nodes check where they are led; None: it is about none."""
        match info.segments:
            case (first, name) if first == _CHANNELS:
                text = name.decode("ascii", "replace")
            case _:
                return None
        try:
            return await asyncio.to_thread(find_envelope, self._store, text)
        except FileError as error:
            _log.error("a channel's pointer cannot be served", reason=error.message)
            raise RejectedError(500, "the channel's pointer cannot be served") from error
