"""Several who take bodies, each at paths of its own, as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ectools.netboot.http.handler import Receiver, RequestInfo


class Receivers:
    """One receiver of several: the first that is for a path takes what comes there."""

    def __init__(self, receivers: Sequence[Receiver]) -> None:
        self._receivers = receivers
        self.max_bytes = max(each.max_bytes for each in receivers)

    def bound(self, info: RequestInfo) -> int:
        """Of the one whose path it is."""
        return self._find(info).bound(info)

    def is_for(self, info: RequestInfo) -> bool:
        """Whether any of them takes bodies at this path."""
        return any(each.is_for(info) for each in self._receivers)

    def admit(self, info: RequestInfo) -> None:
        """Raises RejectedError."""
        self._find(info).admit(info)

    async def receive(self, info: RequestInfo, body: bytes) -> bytes:
        """The answer of the one whose path it is. Raises RejectedError."""
        return await self._find(info).receive(info, body)

    def _find(self, info: RequestInfo) -> Receiver:
        return next(each for each in self._receivers if each.is_for(info))
