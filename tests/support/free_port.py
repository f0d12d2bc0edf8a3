"""A port that nobody else has, for a program that has to be told one."""

from __future__ import annotations

import random
import socket
from pathlib import Path

_RANDOM = random.SystemRandom()
"""Two workers that are seeded alike would choose alike."""
_LOWEST = 11_000
_TRIES = 1000


def choose_port(address: str = "127.0.0.1", *, also: int = 0) -> int:
    """One that is free on ``address``, and so is the one that is ``also`` above it.

    It is below those that the kernel gives away: one of these, bound and let go, may be anybody's next
    connection's before the program that is told it has it.
    """
    first_given_away = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for _ in range(_TRIES):
        port = _RANDOM.randrange(_LOWEST, first_given_away - also)
        if _is_free(address, port) and (not also or _is_free(address, port + also)):
            return port
    raise AssertionError(f"no port of {address} from {_LOWEST} to {first_given_away} is free")


def _is_free(address: str, port: int) -> bool:
    with socket.socket() as tried:
        try:
            tried.bind((address, port))
        except OSError:
            return False
    return True
