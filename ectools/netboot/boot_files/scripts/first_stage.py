"""The first stage, ``autoexec.ipxe``: a lease, then the second stage from the boot server or a mirror."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.ipxe.language import EXIT_VARIABLE, NETBOOT_NAME
from ectools.ipxe.nics import build_nic_walk, find_nics
from ectools.netboot.boot_files.scripts.fetching import (
    WHY,
    build_fetch,
    build_give_up,
    build_reasons,
    join_lines,
    probe_header,
)
from ectools.netboot.boot_files.scripts.identity import build_identity

if TYPE_CHECKING:
    from ectools.netboot.settings.model import NetbootSettings


def build_autoexec(settings: NetbootSettings, token: str | None) -> str:
    """The first stage: a lease of one NIC after another, and over it the second stage, from any source.

    ``token`` is sent where ``netboot.ipxe`` is protected. Raises ScriptError.
    """
    sent = token if NETBOOT_NAME in settings.protected_files else None
    return join_lines(
        ["#!ipxe", "# Written by ectools netboot ipxe; changes are lost at its next run.", ""],
        [
            "set ec-stage first",
            "clear ec-open ||",
            "clear ec-given ||",
            f"clear {EXIT_VARIABLE} ||",
            *find_nics(),
            *probe_header(sent),
            f"set ec-name {NETBOOT_NAME}",
            f"set ec-path /{NETBOOT_NAME}",
            *(["set ec-how ${ec-token}"] if sent else []),
        ],
        build_fetch(settings, sent, query=build_identity("${ec-nic}")),
        build_nic_walk(),
        [
            ":fetched",
            f"imgexec {NETBOOT_NAME} && exit ||",
            # It ran, and has printed how it failed.
            f"iseq ${{ec-stage}} first || exit ${{{EXIT_VARIABLE}}}",
            "set ec-error ${errno:hexraw}",
            f"imgfree {NETBOOT_NAME} ||",
            f"set {WHY} what it sent is no boot script that runs (https://ipxe.org/${{ec-error}})",
            "goto next_source",
        ],
        build_reasons(),
        build_give_up(settings),
    )
