"""What both stages do: load a file over each NIC from each source, in rounds; say why none gave it; give up.

The variables of these scripts, beside those of ``ectools.ipxe.nics``: ``ec-name`` the image, ``ec-path`` its
path below a source, ``ec-how`` how the token is sent with it, ``ec-source`` and ``ec-url`` the source in
turn, ``ec-query`` what is put behind the path there and ``ec-joint`` what comes before a token then,
``ec-why-NIC-N`` why source N failed over a NIC, ``ec-given`` the NIC that the last file came over,
``ec-spread`` how much longer this machine pauses than another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.ipxe.errors import NOBODY_ANSWERS, REASONS
from ectools.ipxe.nics import build_lease, leave_nic
from ectools.ipxe.token import encode_token, is_token
from ectools.ipxe.urls import FAILURE_MARK
from ectools.netboot.boot_files.scripts.checked import ScriptError, check_base_url
from ectools.netboot.settings.model import OnFailure

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ectools.netboot.settings.model import NetbootSettings

TOKEN_HEADER = "X-Boot-Token"  # noqa: S105 - the header's name

WHY = "ec-why-${ec-nic}-${ec-source}"
"""The variable that holds why a source failed."""

STALL_SECONDS = 60
"""Seconds without progress after which a download has failed."""
FIRST_STALL_SECONDS = 20
"""The same in the first rounds, over a NIC of several that may be in a network without the boot server."""
FIRST_PAUSE = 2
LONGEST_PAUSE = 32


def join_lines(*blocks: Iterable[str]) -> str:
    return "".join(f"{line}\n" for block in blocks for line in block)


def start_rounds() -> list[str]:
    return ["set ec-round:int32 1", f"set ec-pause:int32 {FIRST_PAUSE}"]


def build_pause(what: str) -> list[str]:
    """Wait before the next round, each time twice as long as before, and each machine a little differently.

    ``ec-spread`` is 1 to 256: by the last byte of the machine's address, which others that failed at the same
    moment do not have. In hundredths of a second it comes on top, round by round.
    """
    return [
        f"echo every.channel: {what}; trying again in ${{ec-pause}} s",
        "sleep ${ec-pause}",
        "set ec-spread:int32 0",
        "set ec-last:uint8 ${netX/ip:uint32} && set ec-spread:int32 ${ec-last} ||",
        "inc ec-spread ||",
        # iPXE has no sleep for less than a second; no time at all would be for ever.
        "prompt --timeout ${ec-spread}0 ||",
        "inc ec-round",
        "inc ec-pause ${ec-pause}",
        f"iseq ${{ec-pause}} {2 * LONGEST_PAUSE} && set ec-pause:int32 {LONGEST_PAUSE} ||",
    ]


def probe_header(token: str | None) -> list[str]:
    """Set ``ec-token`` to how the token is sent: as a header where this iPXE can, else in the query."""
    if token is None:
        return []
    return [f"{make_header('probe')} && set ec-token header || set ec-token query"]


def make_header(value: str) -> str:
    """The list of parameters ``ec``, with the token as a header."""
    # A list of parameters is used up by the request that sends it; one of the same name takes its place.
    return f"params --name ec && param --params ec --header {TOKEN_HEADER} {value}"


def build_fetch(
    settings: NetbootSettings, token: str | None, *, query: str = "", own_query: str = ""
) -> list[str]:
    """Load ``ec-path`` as the image ``ec-name`` over some NIC from some source, then go to ``fetched``.

    ``query`` is put behind the path, or ``own_query`` where the source is this server: a mirror's caches know
    a file by its whole URL.
    ``ec-how`` says how the token is sent (``open``: it is not). A round goes through the NICs, and over each
    through the sources. The first round is left to the NIC that the machine booted from, or that a file came
    over, unless nobody answers there: a server that is being restarted is back before others have been tried.
    """
    attempts = settings.ipxe.attempts
    sources = find_sources(settings)
    joint = "${ec-joint}" if own_query else "&" if query else "?"
    return [
        ":fetch",
        *start_rounds(),
        ":round",
        "set ec-trouble no DHCP lease",
        "set ec-for fetch",
        "goto nics",
        ":nic_fetch",
        "iseq ${ec-nic} ${ec-open} && goto sources ||",
        *build_lease(),
        ":sources",
        "set ec-trouble ${ec-name}: no source gave it",
        "set ec-state-${ec-nic} leased ${${ec-nic}/ip}",
        *_choose_stall(),
        "set ec-source:int32 0",
        ":source",
        "goto source_${ec-source}",
        *(
            line
            for index, url in enumerate(sources)
            for line in (
                f":source_{index}",
                f"set ec-url {url}",
                *(_choose_query(own_query if index == 0 else "") if own_query else []),
                "goto try",
            )
        ),
        *_try_source(token, "${ec-query}" if own_query else f"?{query}" if query else "", joint),
        ":next_source",
        "inc ec-source",
        "goto source",
        f":source_{len(sources)}",
        "iseq ${ec-nics} 1 && goto rest ||",
        *(_stay() if attempts > 1 else []),
        "echo every.channel: ${ec-name}: no source gave it over ${ec-nic}",
        *leave_nic(),
        ":no_nic_fetch",
        ":rest",
        f"iseq ${{ec-round}} {attempts} && goto give_up ||",
        *build_pause("${ec-trouble}"),
        "goto round",
    ]


def _choose_stall() -> list[str]:
    """Set ``ec-stall``, in milliseconds. ``ec-given`` is the NIC that a file came over."""
    return [
        f"set ec-stall {STALL_SECONDS * 1000}",
        "iseq ${ec-nics} 1 && goto stall ||",
        "iseq ${ec-nic} ${ec-given} && goto stall ||",
        "goto stall_${ec-round} || goto stall",
        ":stall_1",
        ":stall_2",
        f"set ec-stall {FIRST_STALL_SECONDS * 1000}",
        ":stall",
    ]


def _stay() -> list[str]:
    """Go to ``rest`` where the first round is over for all NICs; ``ec-kind`` is the last source's error."""
    return [
        "goto away_${ec-kind} ||",
        "iseq ${ec-round} 1 && iseq ${ec-nic} ${ec-first} && goto rest ||",
        *(f":away_{code:#x}" for code in NOBODY_ANSWERS),
    ]


def _choose_query(query: str) -> list[str]:
    if query:
        return [f"set ec-query ?{query}", "set ec-joint &"]
    return ["clear ec-query ||", "set ec-joint ?"]


def _try_source(token: str | None, query: str, joint: str) -> list[str]:
    if token is not None and not is_token(token):
        raise ScriptError("the token has a character that iPXE cannot send")
    get = f"imgfetch --name ${{ec-name}} --timeout ${{ec-stall}} ${{ec-url}}${{ec-path}}{query}"
    end = "&& goto fetched || goto why"
    return [
        ":try",
        *(["goto try_${ec-how}"] if token else []),
        ":try_open",
        f"{get} {end}",
        *(
            [
                ":try_header",
                f"{make_header(token)} ||",
                f"{get}##params=ec {end}",
                ":try_query",
                f"{get}{joint}token={encode_token(token)} {end}",
            ]
            if token
            else []
        ),
    ]


def build_reasons() -> list[str]:
    """Keep why a source failed, by the kind of iPXE's error number."""
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
        f"set {WHY} ${{ec-text}} (https://ipxe.org/${{ec-error}})",
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
        "iseq ${ec-nics} 0 && echo every.channel: this iPXE finds no NIC that it can drive ||",
        "set ec-for tell",
        "goto nics",
        ":nic_tell",
        "echo every.channel: over ${ec-nic} ${${ec-nic}/mac}: ${ec-state-${ec-nic}}",
        *(
            f"isset {why} && echo every.channel: {url}: {why} ||"
            for index, url in enumerate(find_sources(settings))
            for why in [f"${{ec-why-${{ec-nic}}-{index}}}"]
        ),
        "goto next_nic",
        ":no_nic_tell",
        ":end",
        *last,
        "exit",
    ]


def find_sources(settings: NetbootSettings) -> Sequence[str]:
    """The base URLs in the order in which they are tried, checked."""
    return [check_base_url(url) for url in (settings.base_url, *settings.mirrors)]
