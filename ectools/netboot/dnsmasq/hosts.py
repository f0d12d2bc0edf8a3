"""dnsmasq's file of the machines that get another boot binary: read anew while it serves.

The boot server, which knows the fleet, writes it; dnsmasq reads it when it starts and at SIGHUP (dnsmasq(8),
``--dhcp-hostsfile``): transfers go on meanwhile, which a start with another configuration would end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING

from ectools import log
from ectools.errors import EcError
from ectools.files import write_atomic
from ectools.netboot.boot_files.by_machine import find_other_filename, list_others

if TYPE_CHECKING:
    from pathlib import Path

    from ectools.netboot.fleet.live import LiveFleet
    from ectools.netboot.fleet.model import Fleet
    from ectools.netboot.settings.model import NetbootSettings

_log = log.Log(__name__)

OTHER_TAG = "known"
"""dnsmasq's own tag of machines that it has a host for. Where a host has one of ours (``set:``), dnsmasq
2.90 is killed by SIGABRT at the SIGHUP after it has answered that host.
"""
_NAME = "dnsmasq-hosts"
# dnsmasq's user is another than the one who writes it; there are hardware addresses in it.
_MODE = 0o640
_LOOK_SECONDS = 1.0
_KEEP_SECONDS = 10.0  # a disk that hangs keeps no machine from booting


def find_hosts_file(settings: NetbootSettings) -> Path:
    """Where it is: beside what else the boot server writes."""
    return settings.fleet_dir / _NAME


class HostsKeeper:
    """Keeps the file as the fleet has it, also where nodes are added to that while it is used."""

    def __init__(self, live: LiveFleet) -> None:
        self._live = live
        self._written: tuple[Fleet, NetbootSettings] | None = None
        self._writing: asyncio.Task[None] | None = None
        self._complaint: str | None = None
        live.on_change.append(self._forget)

    def _forget(self, _: str) -> None:
        self._written = None

    async def keep(self, settings: NetbootSettings) -> None:
        """Write it where it may be another; to be called now and then. A disk that is full, or does not
        answer in time, is told once, and asked one thing at a time.
        """
        wanted = (self._live.fleet, settings)
        known = self._written
        if known is not None and all(each is other for each, other in zip(wanted, known, strict=True)):
            return
        if self._writing is None:
            self._written = wanted
            self._writing = asyncio.create_task(asyncio.to_thread(write_hosts, settings, wanted[0]))
        try:
            await asyncio.wait({self._writing}, timeout=_KEEP_SECONDS)
            if not self._writing.done():
                raise TimeoutError("the disk does not answer")
            writing, self._writing = self._writing, None
            writing.result()
            self._complaint = None
        except (EcError, OSError, ValueError) as error:
            self._written = None
            reason = error.message if isinstance(error, EcError) else str(error)
            if reason != self._complaint:
                self._complaint = reason
                _log.error("which machines get another boot binary cannot be kept", reason=reason)


def write_hosts(settings: NetbootSettings, fleet: Fleet) -> None:
    """Write it for a fleet, unless it is so already. Nobody's file is made where no group needs it.

    Raises FileError, OSError.
    """
    file, name = find_hosts_file(settings), find_other_filename(settings)
    text = "".join(f"{mac}\n" for mac in list_others(settings, fleet))
    is_offered = name is not None and (settings.tftp_dir / name).is_file()
    if not (text or is_offered or file.exists()):
        return
    if text and not is_offered:
        _log.warning(
            "the boot binary of a group is not there: its machines get the one that all do",
            file=str(settings.tftp_dir / str(name)),
            hint="`ectools netboot ipxe` with the same settings writes it",
        )
    data = text.encode("ascii")
    if not file.exists() or file.read_bytes() != data:
        write_atomic(file, data, mode=_MODE)


async def follow_hosts(file: Path, pid: int) -> None:
    """Have dnsmasq, the process ``pid``, read the file again whenever it has changed; until cancelled."""
    # What it has read at its start may not have been this.
    known = None
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        found = _identify(file)
        if found != known:
            known = found
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGHUP)


def _identify(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
