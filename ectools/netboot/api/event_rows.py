"""The rows that events carry, as text: each made once for all readers, until it may be another."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ectools.netboot.api.rows import describe_row
from ectools.netboot.api.unnamed import is_unnamed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ectools.netboot.api.releases import StagedRelease
    from ectools.netboot.api.view import FleetView
    from ectools.netboot.fleet.model import Fleet

_MAX_ROWS = 4096


class EventRows:
    """The rows of one boot server. ``forget`` comes with each change, before who is told of it asks."""

    def __init__(self, view: FleetView) -> None:
        self._view = view
        self._made: dict[str, str] = {}
        self._made_of: tuple[Fleet, Sequence[StagedRelease]] | None = None

    def forget(self, subject: str | None) -> None:
        """The row of a node is another; None: any may be."""
        if subject is None:
            self._made.clear()
        else:
            self._made.pop(subject, None)

    def is_listed(self, subject: str) -> bool:
        """Whether it has a row."""
        boot = self._view.boots.latest.get(subject)
        if subject in self._view.fleet.fleet.nodes:
            return True
        return boot is not None and is_unnamed(self._view.fleet, subject, boot)

    def render(self, subject: str, releases: Sequence[StagedRelease]) -> str:
        """The row as JSON, of the fleet and the ``releases`` of now."""
        fleet = self._view.fleet.fleet
        if self._made_of is None or self._made_of[0] is not fleet or self._made_of[1] != releases:
            self._made.clear()
            self._made_of = fleet, releases
        made = self._made.get(subject)
        if made is None:
            if len(self._made) >= _MAX_ROWS:
                self._made.clear()
            made = self._made[subject] = json.dumps(describe_row(self._view, subject, releases))
        return made
