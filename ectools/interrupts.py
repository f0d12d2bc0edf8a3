"""Signals put off while a child is made.

A Python signal handler that raises (KeyboardInterrupt, the guest runner's stop) may do so in the middle of
``subprocess.Popen()``, after the fork: then nobody has the child, and it outlives whoever started it.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PUT_OFF = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def hold_signals() -> Iterator[Callable[[], None]]:
    """Put off what Python's handlers of signals do, until the function that this yields, or the block's end.

    That is to be called where what the block has made is already cared for: it calls the handlers of what
    came meanwhile, and so may raise what they do. Signals that Python does not handle are as they were, and
    so are all where this is not the main thread, which alone runs handlers.
    """
    handlers: dict[int, Callable[[int, Any], Any]] = {}
    replaced: list[int] = []
    received: list[int] = []

    def restore() -> None:
        while replaced:
            # In this order: where a handler raises in between, the next call does it again.
            signal.signal(replaced[-1], handlers[replaced[-1]])
            replaced.pop()

    def release() -> None:
        restore()
        while received:
            number = received.pop(0)
            handlers[number](number, None)

    if threading.current_thread() is threading.main_thread():
        for number in _PUT_OFF:
            handler = signal.getsignal(number)
            if callable(handler):
                handlers[number] = handler
                replaced.append(number)
                signal.signal(number, lambda caught, _frame: received.append(caught))
    try:
        yield release
    finally:
        try:
            restore()
        finally:
            release()
