"""The second stage, ``netboot.ipxe``: a release's kernel and initrds, checked where iPXE can; its boot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.ipxe.nics import build_nic_walk, find_nics
from ectools.netboot.boot_files.scripts.checked import check_base_url
from ectools.netboot.boot_files.scripts.fetching import (
    WHY,
    build_fetch,
    build_give_up,
    build_reasons,
    join_lines,
    probe_header,
)
from ectools.netboot.boot_files.scripts.systems import build_systems, choose_by_build

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ectools.netboot.boot_files.scripts.reporting import ScriptBoot
    from ectools.netboot.release.manifest import Release
    from ectools.netboot.settings.model import NetbootSettings


def build_netboot(
    settings: NetbootSettings,
    release: Release,
    token: str | None,
    *,
    system: str | None = None,
    build: str | None = None,
    arguments: Sequence[str] = (),
    title: str = "",
    boot: ScriptBoot | None = None,
) -> str:
    """The second stage: kernel and initrds of ``release``, checked on the client where it can; then its boot.

    A machine gets the system for its architecture, or ``system``, if that is for it; ``build``: its iPXE's
    ``${buildarch}``, where it has said so. ``arguments`` are the kernel's, after the release's; ``title``
    is who boots, ``boot`` what it says of its boot. Each file is asked of this server and of the mirrors in
    turn, below ``/releases/<id>/``: a client that has this script gets this release's files whatever is
    staged meanwhile. Raises ScriptError.
    """
    base_url = check_base_url(settings.base_url)
    reporting = () if boot is None else boot.build_arguments(base_url, release.id)
    systems = build_systems(settings, release, only=system, build=build, more=(*arguments, *reporting))
    marks = [] if boot is None else boot.mark_loaded(base_url)
    sent = token if any(each.is_protected for each in systems) else None
    return join_lines(
        ["#!ipxe", f"# Boots {release.id}.", ""],
        [
            "set ec-stage netboot",
            "imgfree ||",
            # Over the NIC that this script came over, with the lease that it has.
            "set ec-open ${netX/ifname}",
            "set ec-given ${ec-open}",
            *find_nics(),
            *probe_header(sent),
        ],
        choose_by_build(systems, release),
        *(
            each.render(release, token_is_sent=sent is not None, title=title, before_boot=marks)
            for each in systems
        ),
        build_fetch(settings, sent, own_query="" if boot is None else boot.query),
        build_nic_walk(),
        [
            ":fetched",
            *_verify(enabled=settings.ipxe.verify),
            ":next_file",
            "set ec-first ${ec-nic}",
            "set ec-given ${ec-nic}",
            "inc ec-file",
            "goto file_${ec-file}",
        ],
        build_reasons(),
        build_give_up(settings),
    )


def _verify(*, enabled: bool) -> list[str]:
    """Check the image's SHA-256. An iPXE that cannot prints a warning, once, and goes on."""
    if not enabled:
        return []
    return [
        "iseq ${ec-unverified} yes && goto next_file ||",
        "sha256sum --set ec-got ${ec-name} && goto compare ||",
        "isset ${ec-got} && goto mismatch ||",
        "set ec-unverified yes",
        "echo every.channel: WARNING: this iPXE has no sha256sum --set; what it boots is not verified",
        "goto next_file",
        ":compare",
        "iseq ${ec-got} ${ec-sum} && goto next_file ||",
        ":mismatch",
        "echo every.channel: ${ec-name}: WRONG SHA-256 from ${ec-url}",
        "imgfree ${ec-name}",
        f"set {WHY} wrong SHA-256: not what was staged",
        "goto next_source",
    ]
