"""systemd's notification protocol, sd_notify(3): one datagram a message, so no library is needed for it."""

from __future__ import annotations

import os
import socket
import time

from ectools import log

_log = log.Log(__name__)

# A child that had it could speak for this unit.
SOCKET_VARIABLE = "NOTIFY_SOCKET"


class Notifier:
    """Messages to the service manager; without one (``NOTIFY_SOCKET`` is not set) they go nowhere."""

    def __init__(self) -> None:
        address = os.environ.get(SOCKET_VARIABLE)
        self._address = None if not address else "\0" + address[1:] if address[0] == "@" else address
        self.watchdog_seconds = _watchdog_seconds()
        """How often the manager wants to hear from this process; None: it does not watch it."""

    def ready(self) -> None:
        self._send("READY=1")

    def reloading(self) -> None:
        """Settings are being read again; ``ready`` says that they are (units of type notify-reload)."""
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
