"""What a boot server runs by, known to be right before it serves; and what of it a reload may change."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

from ectools import log
from ectools.errors import EcError
from ectools.files import FileError, read_regular
from ectools.netboot.boot_files.by_machine import check_boot_binaries
from ectools.netboot.boot_files.layout import list_scripts
from ectools.netboot.boot_files.scripts.first_stage import build_autoexec
from ectools.netboot.dnsmasq.plan import DnsmasqPlan, build_plan
from ectools.netboot.fleet.load import load_whole
from ectools.netboot.server.access import read_access_tokens, read_chain_tokens
from ectools.netboot.server.host import check_reloaded, make_directories
from ectools.netboot.server.policy import ServingPolicy
from ectools.netboot.server.shared_state import SharedPlan, prepare_shared
from ectools.netboot.settings.model import NETBOOT_OPTIONS

if TYPE_CHECKING:
    from pathlib import Path

    from ectools.netboot.settings.model import NetbootSettings, ServerSettings

_log = log.Log(__name__)

_MAX_SCRIPT_BYTES = 1 << 20
# What a reload leaves as it is: sockets and directories are taken at the start.
FIXED = {
    "listen_ip": "listenIP",
    "http_port": "httpPort",
    "state_dir": "stateDir",
    "max_connections": "maxConnections",
    "fleet.listen": "fleet.listen",
    "fleet.state": "fleet.state",
    "fleet.host_name": "fleet.hostName",
}
"""Attributes of the settings → their options."""


@dataclass(frozen=True, kw_only=True)
class BootServerPlan:
    """``dnsmasq`` is the socket that its reports come to, where it is another process's.

    ``access_tokens`` are those of ``fleet.listen``. ``shared``: with which hosts the state is shared, if any.
    """

    settings: ServerSettings
    policy: ServingPolicy
    dnsmasq: DnsmasqPlan | Path
    access_tokens: tuple[str, ...]
    shared: SharedPlan | None = None


def prepare_plan(settings: ServerSettings, dnsmasq_reports: Path | None) -> BootServerPlan:
    """Everything that can be known to be wrong before anything serves. It may take its time.

    ``dnsmasq_reports``: dnsmasq is another process's, whose reports come to this socket. Raises EcError.
    """
    make_directories(settings)
    fleet = load_whole(settings.fleet.part, settings.fleet.file)
    check_boot_binaries(settings, fleet)
    policy = ServingPolicy.build(settings, read_chain_tokens(settings), fleet)
    dnsmasq = build_plan(settings) if dnsmasq_reports is None else dnsmasq_reports
    _warn_of_other_script(settings, policy.token)
    tokens = read_access_tokens(settings)
    return BootServerPlan(
        settings=settings,
        policy=policy,
        dnsmasq=dnsmasq,
        access_tokens=tokens,
        shared=prepare_shared(settings),
    )


def check_change(plan: BootServerPlan, before: BootServerPlan) -> None:
    """Raises EcError where a reload cannot bring ``plan`` into force in place of ``before``."""
    changed = [
        f"{NETBOOT_OPTIONS}.{option}"
        for name, option in FIXED.items()
        if attrgetter(name)(plan.settings) != attrgetter(name)(before.settings)
    ]
    if changed:
        raise EcError(f"a restart is needed to change {', '.join(changed)}")
    if isinstance(plan.dnsmasq, DnsmasqPlan):
        check_reloaded(plan.settings, before.settings)


def _warn_of_other_script(settings: NetbootSettings, token: str | None) -> None:
    """The first script is written by another command, and may name another host or send another token."""
    wanted = build_autoexec(settings, token).encode("ascii")
    for name in list_scripts(settings):
        path = settings.tftp_dir / name
        try:
            found = read_regular(path, limit=_MAX_SCRIPT_BYTES)
        except FileError:
            continue
        if found != wanted:
            _log.warning(
                "the first boot script is not what these settings make: it may send clients elsewhere, or "
                "with another token",
                file=str(path),
                hint="`ectools netboot ipxe` with the same settings writes it anew",
            )
