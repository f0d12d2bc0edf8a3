"""Boot tokens: secrets that boot scripts hold, in characters that every iPXE sends as they are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from ectools.credentials import find_secret
from ectools.errors import InputError
from ectools.files import read_input

if TYPE_CHECKING:
    from pathlib import Path

CHAIN_TOKEN = "chain-token"  # noqa: S105 - the credential's name
"""Name of systemd's credential (systemd.exec(5)) that holds what a boot script asks for."""

_MAX_BYTES = 64 << 10

# iPXE before 2020 decodes a URL's query and encodes only some of it again: & and + come out as themselves,
# and what is not ASCII as garbage. These characters arrive as they are.
_MAX_LENGTH = 512
_TOKEN = re.compile(rb"[A-Za-z0-9._~/=:@-]{1,%d}" % _MAX_LENGTH)


def is_token(text: str) -> bool:
    """Whether every iPXE can send it."""
    return text.isascii() and _TOKEN.fullmatch(text.encode("ascii")) is not None


def read_tokens(
    path: Path, *, credential: str, option: str, at_most: int = 1, shortest: int = 1, sender: str = "iPXE"
) -> tuple[str, ...]:
    """The tokens that ``path`` holds, one a line, that iPXE can send: at least one.

    ``shortest``: characters that each has at least; ``sender``: who sends them, in messages. Raises FileError
    where it cannot be read, InputError where it holds anything else. Neither shows it.
    """
    found = find_secret(path, credential=credential)
    lines = read_input(found, limit=_MAX_BYTES).strip(b"\r\n").splitlines()
    are_tokens = all(_TOKEN.fullmatch(line) and len(line) >= shortest for line in lines)
    if not 1 <= len(lines) <= at_most or not are_tokens:
        lines_wanted = "one line" if at_most == 1 else f"one to {at_most} lines, each"
        raise InputError(
            f"{found}: holds no token that {sender} can send",
            hint=f"expected {lines_wanted} of {shortest} to {_MAX_LENGTH} letters, digits and "
            f". _ ~ - / = : @ (hexadecimal or URL-safe base64 will do); {option} names the file",
        )
    return tuple(line.decode("ascii") for line in lines)


def add_token(url: str, token: str) -> str:
    """``url`` with the query parameter ``token``, percent-encoded; its own query and fragment stay."""
    parts = urlsplit(url)
    parameter = f"token={encode_token(token)}"
    query = f"{parts.query}&{parameter}" if parts.query else parameter
    return parts._replace(query=query, path=parts.path or "/").geturl()


def encode_token(token: str) -> str:
    """The token as it stands in a URL, and as iPXE may print it."""
    return quote(token, safe="")
