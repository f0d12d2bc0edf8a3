"""The files that a server may have open: how many connections they are enough for."""

from __future__ import annotations

import resource

from ectools import log
from ectools.errors import EcError
from ectools.netboot.http.admission import LOBBY_CONNECTIONS

_log = log.Log(__name__)

ACCEPTS_PER_TURN = 16
"""Connections that are taken in one turn of the loop."""
# A connection's socket, its file, and the socket's duplicate for the download.
_DESCRIPTORS_PER_CONNECTION = 3
# Its own, and those of connections that made room in this turn.
_DESCRIPTORS_OF_THE_PROCESS = 64 + ACCEPTS_PER_TURN


def reserve_descriptors(max_connections: int) -> int:
    """Raise this process's soft limit of open files to what so many connections need.

    Returns how many the hard limit allows. Raises EcError where it allows none.
    """
    needed = _DESCRIPTORS_PER_CONNECTION * max_connections + LOBBY_CONNECTIONS + _DESCRIPTORS_OF_THE_PROCESS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed and soft != resource.RLIM_INFINITY:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft >= needed or soft == resource.RLIM_INFINITY:
        return max_connections
    possible = (soft - LOBBY_CONNECTIONS - _DESCRIPTORS_OF_THE_PROCESS) // _DESCRIPTORS_PER_CONNECTION
    if possible < 1:
        raise EcError(
            f"at most {soft} files may be open, and {needed} are needed for {max_connections} connections",
            hint="raise the limit (ulimit -Hn; in a unit: LimitNOFILE)",
        )
    _log.warning("the limit of open files allows fewer connections", wanted=max_connections, allowed=possible)
    return possible
