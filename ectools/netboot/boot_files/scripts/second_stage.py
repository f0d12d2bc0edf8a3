"""The second stage, ``netboot.ipxe``: a release's kernel and initrds, checked where iPXE can; its boot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.ipxe.language import goes_on
from ectools.ipxe.nics import build_nic_walk, find_nics
from ectools.ipxe.urls import FAILURE_MARK
from ectools.netboot.boot_files.scripts.checked import ScriptError, check_file_name, check_kernel_argument
from ectools.netboot.boot_files.scripts.fetching import (
    WHY,
    build_fetch,
    build_give_up,
    build_reasons,
    join_lines,
    probe_header,
)

if TYPE_CHECKING:
    from ectools.netboot.release.manifest import Release
    from ectools.netboot.settings.model import NetbootSettings


def build_netboot(settings: NetbootSettings, release: Release, token: str | None) -> str:
    """The second stage: kernel and initrds of ``release``, checked on the client where it can; then its boot.

    Each file is asked of this server and of the mirrors in turn, below ``/releases/<id>/``: a client that has
    this script gets this release's files whatever is staged meanwhile. Raises ScriptError.
    """
    boot = release.boot
    files = [boot.kernel, *boot.initrds]
    names = [check_file_name(file).rpartition("/")[2] for file in files]
    if len(set(names)) != len(names):
        raise ScriptError(f"{release.id}: boots several files of one name, and iPXE knows images by name")
    arguments = [check_kernel_argument(argument) for argument in boot.arguments]
    if arguments and goes_on(arguments[-1]):
        raise ScriptError(f"{release.id}: the kernel's last argument ends in a backslash")
    protected = [file in settings.protected_files for file in files]
    sent = token if any(protected) else None
    steps = [
        [
            f":file_{index}",
            f"set ec-name {name}",
            f"set ec-path /releases/{release.id}/{file}",
            f"set ec-sum {release.files[file].sha256}",
            *([f"set ec-how {'${ec-token}' if asks else 'open'}"] if sent else []),
            "goto fetch",
        ]
        for index, (file, name, asks) in enumerate(zip(files, names, protected, strict=True))
    ]
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
            "set ec-file:int32 0",
            "goto file_0",
        ],
        *steps,
        [
            f":file_{len(files)}",
            " ".join(["imgargs", names[0], *arguments]),
            f"echo every.channel: starting {release.id}",
            f"imgexec {names[0]} ||",
            f"echo {FAILURE_MARK} {names[0]}: loaded, but does not start (https://ipxe.org/${{errno:hexraw}})",
            "goto end",
        ],
        build_fetch(settings, sent),
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
