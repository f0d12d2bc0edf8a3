"""The second stage of machines that boot no release: those that wait, are refused, or boot from their disk.

``build_question`` is for who did not say who it is: a first stage of an earlier version, or a proxy that
names the second stage itself. It asks again, and says it then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.errors import cut
from ectools.ipxe.language import EXIT_VARIABLE, NETBOOT_NAME, UNBOOTED_VARIABLE
from ectools.ipxe.token import encode_token
from ectools.ipxe.urls import FAILURE_MARK
from ectools.netboot.boot_files.scripts.checked import check_base_url
from ectools.netboot.boot_files.scripts.fetching import join_lines, make_header, probe_header
from ectools.netboot.boot_files.scripts.identity import build_identity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ectools.netboot.settings.model import NetbootSettings

HOLD_SECONDS = 30
"""After so long, a machine that is held asks again."""
_QUESTION_SECONDS = 5
_BEGIN = ["#!ipxe", "set ec-stage netboot", "imgfree ||"]


def build_hold(settings: NetbootSettings, token: str | None, *, why: Iterable[str]) -> str:
    """Show ``why``, wait, and ask again, for ever. Raises ScriptError."""
    return join_lines(
        _BEGIN,
        [f"set {UNBOOTED_VARIABLE} hold", *_show(why)],
        [f"echo every.channel: asking again every {HOLD_SECONDS} s"],
        _ask(settings, token, seconds=HOLD_SECONDS),
    )


def build_refusal(*, why: Iterable[str]) -> str:
    """Show ``why``, and leave the machine to its firmware."""
    return join_lines(_BEGIN, [f"set {UNBOOTED_VARIABLE} refuse", *_show(why)], ["sleep 5 ||"], _leave())


def build_disk(*, why: Iterable[str]) -> str:
    """Boot what the firmware finds next: on BIOS, which goes on to nothing by itself, the first disk."""
    return join_lines(
        _BEGIN,
        [
            f"set {UNBOOTED_VARIABLE} disk",
            *_show(why),
            "iseq ${platform} pcbios || goto leave",
            "sanboot --no-describe --drive 0x80 ||",
            f"echo {FAILURE_MARK} the first disk does not boot (https://ipxe.org/${{errno:hexraw}})",
            ":leave",
        ],
        _leave(),
    )


def build_question(settings: NetbootSettings, token: str | None) -> str:
    """Ask again, and say who asks. Raises ScriptError."""
    return join_lines(_BEGIN, ["goto ask"], _ask(settings, token, seconds=_QUESTION_SECONDS))


def _ask(settings: NetbootSettings, token: str | None, *, seconds: int) -> list[str]:
    # --replace: a script that calls the next one would lie on iPXE's stack for as long as the machine waits.
    sent = token if NETBOOT_NAME in settings.protected_files else None
    url = f"{check_base_url(settings.base_url)}/{NETBOOT_NAME}?{build_identity('netX')}"
    chain = "chain --autofree --replace"
    return [
        ":again",
        f"sleep {seconds} ||",
        ":ask",
        *(
            [
                *probe_header(sent),
                "goto ask_${ec-token}",
                ":ask_header",
                f"{make_header(sent)} ||",
                f"{chain} {url}##params=ec || goto again",
                ":ask_query",
                f"{chain} {url}&token={encode_token(sent)} || goto again",
            ]
            if sent is not None
            else [f"{chain} {url} || goto again"]
        ),
    ]


def _leave() -> list[str]:
    # UEFI's boot manager goes on to the next entry where one fails, and shows its menu where one succeeds
    # (UEFI 2.10, 3.1.1). The first stage passes it on.
    return [f"set {EXIT_VARIABLE} 1", "exit 1"]


def _show(lines: Iterable[str]) -> list[str]:
    """``echo`` of lines that hold what a machine has sent: as text, and never as a command or a variable."""
    return [f"echo every.channel: {_make_plain(line)}" for line in lines]


def _make_plain(line: str) -> str:
    kept = "".join(
        char if char.isascii() and char.isprintable() and char not in "$\\" else "?" for char in cut(line)
    )
    # Words that end a command, or are a comment.
    return " ".join(
        "?" if word in ("||", "&&", ";") or word.startswith("#") else word for word in kept.split()
    )
