"""systemd's notification protocol, sd_notify(3): one datagram a message.

Not by python-systemd: it takes libsystemd and a compiler, for ten lines.
"""

from __future__ import annotations

import os
import socket
import time

from ectools import log

_log = log.Log(__name__)

# Taken out of children's environments: one that had it could send messages in this unit's name.
SOCKET_VARIABLE = "NOTIFY_SOCKET"


class Notifier:
    """The service manager's socket; without one (``NOTIFY_SOCKET`` is not set) nothing is sent.

    What cannot be sent is logged, and no error.
    """

    def __init__(self) -> None:
        address = os.environ.get(SOCKET_VARIABLE)
        self._address = None if not address else "\0" + address[1:] if address[0] == "@" else address
        self.watchdog_seconds = _watchdog_seconds()
        """The longest time in seconds between two ``alive``; None: there is no watchdog."""

    def ready(self) -> None:
        self._send("READY=1")

    def reloading(self) -> None:
        """A reload has begun, which ``ready`` ends (``Type=notify-reload``, systemd.service(5))."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def status(self, text: str) -> None:
        """One line for ``systemctl status``."""
        self._send("STATUS=" + text.replace("\n", " "))

    def alive(self) -> None:
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                # A manager that does not read must not hold up the guest.
                channel.settimeout(1.0)
                channel.connect(self._address)
                channel.sendall(message.encode())
        except OSError as error:
            _log.warning("the service manager cannot be notified", notification=message, reason=str(error))


def _watchdog_seconds() -> float | None:
    """``WATCHDOG_USEC``, where it is meant for this process (sd_watchdog_enabled(3))."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdecimal() or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(microseconds) / 1e6 or None
