"""The first stage, ``autoexec.ipxe``: a lease, then the second stage from the boot server or a mirror."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.ipxe.language import NETBOOT_NAME
from ectools.ipxe.urls import FAILURE_MARK
from ectools.netboot.boot_files.scripts.fetching import (
    build_fetch,
    build_give_up,
    build_pause,
    build_reasons,
    join_lines,
    probe_header,
    start_rounds,
)

if TYPE_CHECKING:
    from ectools.netboot.settings.model import NetbootSettings


def build_autoexec(settings: NetbootSettings, token: str | None) -> str:
    """The first stage: DHCP, then the second stage from this server or a mirror.

    ``token`` is sent where ``netboot.ipxe`` is protected. Raises ScriptError.
    """
    sent = token if NETBOOT_NAME in settings.protected_files else None
    attempts = settings.ipxe.attempts
    return join_lines(
        ["#!ipxe", "# Written by ectools netboot ipxe; changes are lost at its next run.", ""],
        [
            "set ec-stage first",
            *start_rounds(),
            ":lease",
            # Not only where there is no address yet: firmware hands settings on without an open NIC.
            "dhcp && goto leased ||",
            f"iseq ${{ec-round}} {attempts} && goto no_lease ||",
            *build_pause("no DHCP lease"),
            "goto lease",
            ":no_lease",
            f"echo {FAILURE_MARK} no DHCP lease in {attempts} rounds",
            "goto end",
            ":leased",
            *probe_header(sent),
            f"set ec-name {NETBOOT_NAME}",
            f"set ec-path /{NETBOOT_NAME}",
            *(["set ec-how ${ec-token}"] if sent else []),
        ],
        build_fetch(settings, sent),
        [
            ":fetched",
            f"imgexec {NETBOOT_NAME} && exit ||",
            # It ran, and has printed how it failed.
            "iseq ${ec-stage} first || exit",
            "set ec-error ${errno:hexraw}",
            f"imgfree {NETBOOT_NAME} ||",
            "set ec-why-${ec-source} what it sent is no boot script that runs (https://ipxe.org/${ec-error})",
            "goto next_source",
        ],
        build_reasons(),
        build_give_up(settings),
    )
