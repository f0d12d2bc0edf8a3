"""The plan that dnsmasq is started by, made of the settings and of this host, and checked before."""

from __future__ import annotations

import resource
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ectools import log
from ectools.netboot.boot_files.layout import list_boot_names, list_scripts
from ectools.netboot.dnsmasq.check import (
    check_proxy_version,
    check_services,
    find_dnsmasq,
    list_boot_files,
)
from ectools.netboot.dnsmasq.model import build_boot_services
from ectools.netboot.dnsmasq.render import render_configuration
from ectools.netboot.settings.boot_names import list_parents
from ectools.netboot.settings.model import NETBOOT_OPTIONS

if TYPE_CHECKING:
    from pathlib import Path

    from ectools.netboot.dnsmasq.model import BootServices
    from ectools.netboot.settings.model import ServerSettings

_log = log.Log(__name__)

OTHER_FILES = 128
"""What dnsmasq 2.90 keeps of its open files for other things (50), and the boot files themselves."""


@dataclass(frozen=True, kw_only=True)
class DnsmasqPlan:
    """A checked start. ``directories`` decide what is served: not more than their owner may read."""

    program: str
    services: BootServices
    configuration: str
    directories: tuple[Path, ...]


def build_plan(settings: ServerSettings) -> DnsmasqPlan:
    """The plan for the settings. Raises EcError for everything that can be known to be wrong before a start.

    It starts processes and reads files: off an event loop that serves. The limit of open files is raised,
    where transfers need it.
    """
    program = find_dnsmasq()
    present = list_boot_files(settings.tftp_dir)
    services = build_boot_services(settings, present=present)
    services = replace(services, max_transfers=fit_transfers(services.max_transfers))
    if services.proxy is not None:
        check_proxy_version(program)
    configuration = render_configuration(services)
    check_services(services, configuration, program=program)
    parents = dict.fromkeys(parent for name in list_boot_names(settings) for parent in list_parents(name))
    wanted = {settings.tftp_boot_filename, *settings.ipxe.extra_files, *list_scripts(settings)}
    for name in sorted(wanted - present):
        _log.warning(
            "a boot file is missing, and clients of TFTP will not get on",
            file=str(settings.tftp_dir / name),
            hint="`ectools netboot ipxe` writes it",
        )
    return DnsmasqPlan(
        program=program,
        services=services,
        configuration=configuration,
        directories=(settings.state_dir, settings.tftp_dir, *(settings.tftp_dir / each for each in parents)),
    )


def fit_transfers(wanted: int) -> int:
    """As many transfers as this process and its children may have sockets for, at most ``wanted``."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted + OTHER_FILES
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    fitting = max(1, most - OTHER_FILES)
    if fitting < wanted:
        _log.warning(
            f"{NETBOOT_OPTIONS}.tftp.maxTransfers: this process may not have so many open files",
            wanted=wanted,
            transfers=fitting,
            hint=f"`ulimit -n {wanted + OTHER_FILES}` by root, before it is started",
        )
    return fitting
