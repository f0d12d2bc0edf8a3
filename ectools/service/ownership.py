"""Whose a file of a service is: one that we wrote, one that we wrote and somebody changed, or another's.

Each of our files begins with two comment lines, which end with the SHA-256 of the rest.
"""

from __future__ import annotations

import hashlib
import re
from enum import StrEnum

_WRITTEN = "# Written by `ectools service install`, and removed by `ectools service remove`"
_SEALED = re.compile(re.escape(_WRITTEN).encode() + rb"[^\n]*\n# sha256: ([0-9a-f]{64})\n(.*)", re.DOTALL)


class Owner(StrEnum):
    """Who a file is of."""

    OURS = "ours"
    EDITED = "edited"
    FOREIGN = "foreign"


def seal(text: str, *, unit: str | None = None) -> str:
    """``text`` with its two lines before it; that of a unit says where changes go."""
    advice = f"; changes go into a drop-in: systemctl edit {unit}" if unit else ""
    return f"{_WRITTEN}{advice}.\n# sha256: {hashlib.sha256(text.encode()).hexdigest()}\n{text}"


def find_owner(data: bytes) -> Owner:
    """Whose the content of a file is."""
    sealed = _SEALED.fullmatch(data)
    if sealed is None:
        return Owner.FOREIGN
    return Owner.OURS if hashlib.sha256(sealed[2]).hexdigest() == sealed[1].decode() else Owner.EDITED
