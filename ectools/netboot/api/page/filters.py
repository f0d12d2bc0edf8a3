"""Which rows of the list are shown, as the address says: it works without JavaScript, and can be sent."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_QUERY = 200  # characters of one value


class RowState(StrEnum):
    """How a node stands, as its newest boot says. In the order in which somebody is needed."""

    FAILED = "failed"
    UNHEALTHY = "unhealthy"
    ABANDONED = "abandoned"
    BOOTING = "booting"
    SILENT = "silent"  # no boot of it is remembered
    HEALTHY = "healthy"


class RowOrder(StrEnum):
    """What rows are sorted by."""

    STATE = "state"
    NAME = "name"
    GROUP = "group"
    RELEASE = "release"
    SINCE = "since"


@dataclass(frozen=True, kw_only=True, slots=True)
class RowFilter:
    """Which rows are shown. ``text``: in lower case, all of its words are in a row's name, machine, release
    or reason.
    """

    state: RowState | None = None
    group: str | None = None
    text: str = ""
    order: RowOrder = RowOrder.STATE

    @property
    def is_narrow(self) -> bool:
        """Whether some rows are left out."""
        return self.state is not None or self.group is not None or bool(self.text)

    def link(self, **changes: str | None) -> str:
        """The address of the list with other values; None for all of one. What is the default is left out."""
        values: dict[str, str | None] = {"state": self.state, "group": self.group, "text": self.text}
        values["order"] = None if self.order is RowOrder.STATE else self.order
        query = {name: value for name, value in (values | changes).items() if value}
        return f"/?{urlencode(query)}" if query else "/"


def parse_filter(query: Mapping[str, str]) -> RowFilter:
    """The filter of an address; what it does not know of it is left out."""
    state, order = query.get("state"), query.get("order")
    return RowFilter(
        state=RowState(state) if state in set(RowState) else None,
        group=query.get("group", "")[:_MAX_QUERY] or None,
        text=query.get("text", "").strip()[:_MAX_QUERY],
        order=RowOrder(order) if order in set(RowOrder) else RowOrder.STATE,
    )
