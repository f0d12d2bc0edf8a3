"""The forge of the tests, as any server, and a clock: for the tests of this directory."""

from __future__ import annotations

import pytest
from support.clock import Clock
from support.staging import forge, no_proxies

__all__ = ["forge", "no_proxies"]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock by which the client waits, and by which it measures a server."""
    made = Clock()
    monkeypatch.setattr("ectools.fetch.client.time", made)
    return made
