"""What both stages do: load a file from the sources in turn, in rounds; say why none gave it; give up.

The variables of these scripts: ``ec-name`` the image, ``ec-path`` its path below a source, ``ec-how`` how the
token is sent with it, ``ec-source`` and ``ec-url`` the source in turn, ``ec-why-N`` why source N failed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.ipxe.errors import REASONS
from ectools.ipxe.token import encode_token, is_token
from ectools.ipxe.urls import FAILURE_MARK
from ectools.netboot.boot_files.scripts.checked import ScriptError, check_base_url
from ectools.netboot.settings.model import OnFailure

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ectools.netboot.settings.model import NetbootSettings

TOKEN_HEADER = "X-Boot-Token"  # noqa: S105 - the header's name

STALL_SECONDS = 60
"""Seconds without progress after which a download has failed."""
FIRST_PAUSE = 2
LONGEST_PAUSE = 32


def join_lines(*blocks: Iterable[str]) -> str:
    return "".join(f"{line}\n" for block in blocks for line in block)


def start_rounds() -> list[str]:
    return ["set ec-round:int32 1", f"set ec-pause:int32 {FIRST_PAUSE}"]


def build_pause(what: str) -> list[str]:
    """Wait before the next round, each time twice as long as before."""
    return [
        f"echo every.channel: {what}; trying again in ${{ec-pause}} s",
        "sleep ${ec-pause}",
        "inc ec-round",
        "inc ec-pause ${ec-pause}",
        f"iseq ${{ec-pause}} {2 * LONGEST_PAUSE} && set ec-pause:int32 {LONGEST_PAUSE} ||",
    ]


def probe_header(token: str | None) -> list[str]:
    """Set ``ec-token`` to how the token is sent: as a header where this iPXE can, else in the query."""
    if token is None:
        return []
    return [f"{_make_header('probe')} && set ec-token header || set ec-token query"]


def _make_header(value: str) -> str:
    # A list of parameters is used up by the request that sends it; one of the same name takes its place.
    return f"params --name ec && param --params ec --header {TOKEN_HEADER} {value}"


def build_fetch(settings: NetbootSettings, token: str | None) -> list[str]:
    """Load ``ec-path`` as the image ``ec-name`` from the sources in turn, then go to ``fetched``.

    ``ec-how`` says how the token is sent (``open``: it is not).
    """
    if token is not None and not is_token(token):
        raise ScriptError("the token has a character that iPXE cannot send")
    sources = _find_sources(settings)
    get = f"imgfetch --name ${{ec-name}} --timeout {STALL_SECONDS * 1000} ${{ec-url}}${{ec-path}}"
    end = "&& goto fetched || goto why"
    return [
        ":fetch",
        *start_rounds(),
        ":round",
        "set ec-source:int32 0",
        ":source",
        "goto source_${ec-source}",
        *(
            line
            for index, url in enumerate(sources)
            for line in (f":source_{index}", f"set ec-url {url}", "goto try")
        ),
        ":try",
        *(["goto try_${ec-how}"] if token else []),
        ":try_open",
        f"{get} {end}",
        *(
            [
                ":try_header",
                f"{_make_header(token)} ||",
                f"{get}##params=ec {end}",
                ":try_query",
                f"{get}?token={encode_token(token)} {end}",
            ]
            if token
            else []
        ),
        ":next_source",
        "inc ec-source",
        "goto source",
        f":source_{len(sources)}",
        f"iseq ${{ec-round}} {settings.ipxe.attempts} && goto give_up ||",
        *build_pause("${ec-name}: no source gave it"),
        "goto round",
    ]


def build_reasons() -> list[str]:
    """Keep in ``ec-why-N`` why source N failed, by the kind of iPXE's error number."""
    lines = [
        ":why",
        "set ec-error ${errno:hexraw}",
        "set ec-kind:uint8 ${errno}",
        "goto why_${ec-kind} ||",
        "set ec-text failed",
    ]
    for reason in REASONS:
        labels = [f":why_{code:#x}" for code in reason.codes]
        lines += ["goto because", *labels, f"set ec-text {reason.text}"]
    return [
        *lines,
        ":because",
        "set ec-why-${ec-source} ${ec-text} (https://ipxe.org/${ec-error})",
        "goto next_source",
    ]


def build_give_up(settings: NetbootSettings) -> list[str]:
    """The readable error of ``ec-name``, then what the settings say that comes at the end."""
    ipxe = settings.ipxe
    if ipxe.on_failure is OnFailure.SHELL:
        last = [
            "echo every.channel: a shell, to look around: reboot tries again, exit goes on to the disk",
            "shell",
        ]
    else:
        last = [
            f"echo every.channel: rebooting in {ipxe.reboot_seconds} s",
            f"sleep {ipxe.reboot_seconds} ||",
            "reboot ||",
        ]
    return [
        ":give_up",
        f"echo {FAILURE_MARK} ${{ec-name}}: not loaded in {ipxe.attempts} rounds",
        *(
            f"echo every.channel: {url}: ${{ec-why-{index}}}"
            for index, url in enumerate(_find_sources(settings))
        ),
        ":end",
        *last,
        "exit",
    ]


def _find_sources(settings: NetbootSettings) -> Sequence[str]:
    """The base URLs in the order in which they are tried, checked."""
    return [check_base_url(url) for url in (settings.base_url, *settings.mirrors)]
