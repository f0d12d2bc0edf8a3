"""Settings of the boot HTTP server."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

HEALTH_PATH = "/healthz"
"""Answered by the server itself; a file of that name in the root is never served."""


STORE = Path("/nix/store")
"""Nix's, whose paths a served directory may link to."""


@dataclass(frozen=True, kw_only=True)
class HttpSettings:
    """The server's settings. ``root`` is the directory whose files are served; times are in seconds.

    ``max_connections`` are answered at once; one more gets 503 with ``Retry-After``: ``retry_after_seconds``
    or up to twice as many.
    A header must be complete ``header_seconds`` after the connection opened or the previous response
    ended. A client that takes nothing for ``stall_seconds`` is dropped. When asked to stop, the server lets
    downloads in flight end for up to ``drain_seconds``. Links that lead out of the root are followed into
    ``store`` only.
    """

    root: Path
    store: Path = STORE
    max_connections: int = 1024
    header_seconds: float = 10.0
    stall_seconds: float = 60.0
    drain_seconds: float = 30.0
    retry_after_seconds: int = 5

    def choose_retry_after(self) -> int:
        """Seconds for one client, up to twice as many: those who are turned away together come together."""
        return random.randint(self.retry_after_seconds, 2 * self.retry_after_seconds)  # noqa: S311 - no secret
