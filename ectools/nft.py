"""Tables of nftables that are ours alone: each loaded whole and removed whole, beside every other firewall.

nft(8): what one ``nft -f`` reads is one transaction, so a packet sees the old table or the new one. No other
table is looked at or changed: a packet has to pass all of them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from typing import TYPE_CHECKING, Any, TypeVar

from ectools.capabilities import Capability, handed_on
from ectools.processes import ProcessError, run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_T = TypeVar("_T")

NFT = "nft"
_SECONDS = 30.0
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)


def find_nft() -> str | None:
    """The program's path; None where it is not installed. An ordinary user's PATH is without sbin."""
    return shutil.which(NFT, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]))


def render_load(family: str, name: str, body: str) -> str:
    """The transaction that makes ``table FAMILY NAME`` what ``body`` says, whether there was one or not."""
    return f"{render_removal(family, name)}table {family} {name} {{\n{body}}}\n"


def render_removal(family: str, name: str) -> str:
    """The transaction after which the table is not there; it makes it first, so that its removal is no error.

    Raises ValueError for a name that is no identifier.
    """
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"{name!r} is no name of a table")
    return f"table {family} {name}\ndelete table {family} {name}\n"


def apply(program: str, transaction: str) -> None:
    """One run of ``nft -f``, with CAP_NET_ADMIN handed on where this process has it.

    Raises ProcessError: no right to it, no nf_tables in the kernel, or a mistake in the text.
    """
    with handed_on(Capability.NET_ADMIN):
        run([program, "-f", "-"], stdin=transaction, timeout=_SECONDS)


def has_table(program: str, family: str, name: str) -> bool:
    """Whether there is such a table. Raises ProcessError."""
    return name in _list(program, ["tables", family], lambda entry: {entry["table"]["name"]: None})


def read_counters(program: str, family: str, name: str) -> Mapping[str, int]:
    """The packets that each named counter of the table has counted. Raises ProcessError."""

    def read(entry: Any) -> dict[str, int]:
        return {entry["counter"]["name"]: int(entry["counter"]["packets"])}

    return _list(program, ["counters", "table", family, name], read)


def _list(program: str, what: list[str], read: Callable[[Any], dict[str, _T]]) -> dict[str, _T]:
    """What ``read`` makes of each object that nft lists, with CAP_NET_ADMIN handed on as ``apply`` has it."""
    argv = [program, "--json", "list", *what]
    with handed_on(Capability.NET_ADMIN):
        answer = run(argv, timeout=_SECONDS).stdout
    found: dict[str, _T] = {}
    try:
        for entry in json.loads(answer)["nftables"]:
            if "metainfo" not in entry:
                found |= read(entry)
    except (ValueError, KeyError, TypeError) as error:
        raise ProcessError(
            f"nft's list of {what[0]} cannot be read: {error}", argv=argv, stdout=answer
        ) from error
    return found
