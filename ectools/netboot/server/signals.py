"""Signals of a service: SIGTERM and SIGINT ask it to stop, SIGHUP to read its settings again."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


@contextlib.contextmanager
def handle_signals(*, stop: Callable[[], None], reload: Callable[[], None]) -> Iterator[None]:
    """SIGTERM and SIGINT, SIGHUP, on the running loop for the length of the block; afterwards ignored."""
    loop = asyncio.get_running_loop()
    handlers: Mapping[signal.Signals, Callable[[], None]] = {
        signal.SIGTERM: stop,
        signal.SIGINT: stop,
        signal.SIGHUP: reload,
    }
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in handlers:
            # One more signal must not make an orderly end a death on the last metres.
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)
