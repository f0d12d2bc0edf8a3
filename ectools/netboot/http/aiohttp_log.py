"""aiohttp's own log, without what any client could fill it with.

A request that cannot be parsed and a client that has hung up are no errors here, and aiohttp writes a
traceback for each. What is left are faults of a program, of which one a minute is written.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from aiohttp import ClientPayloadError, web
from aiohttp.http import HttpProcessingError

from ectools.timers import Guard

if TYPE_CHECKING:
    from collections.abc import Callable

CLIENTS_DOING = (ConnectionError, HttpProcessingError, ClientPayloadError, web.RequestPayloadError)
"""What aiohttp raises where a client has gone, or has sent what nobody understands."""


def make_aiohttp_log(name: str, *, clock: Callable[[], float] = time.monotonic) -> logging.Logger:
    """The logger to give to aiohttp, below the module ``name``; ``clock`` is in seconds."""
    logger = logging.getLogger(f"{name}.aiohttp")
    guard = Guard(name, clock=clock)

    def keep(record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, CLIENTS_DOING):
            return False
        if isinstance(error, Exception):
            guard.report(error)
            return False
        return True

    logger.filters[:] = [keep]
    return logger
