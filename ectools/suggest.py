"""What was probably meant by a name that nobody knows."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_LIKENESS = 0.6  # of difflib's ratio: one letter wrong in three


def find_similar(name: str, known: Iterable[str], *, most: int = 1) -> list[str]:
    """The names that are nearly it, the likeliest first: by case, as its beginning, by their letters."""
    names = list(known)
    same = [other for other in names if other.lower() == name.lower()]
    begun = sorted(other for other in names if len(name) > 1 and other.startswith(name))
    close = difflib.get_close_matches(name, names, n=most, cutoff=_LIKENESS)
    return list(dict.fromkeys([*same, *begun, *close]))[:most]


def did_you_mean(name: str, known: Iterable[str], *, otherwise: str | None = None) -> str | None:
    """A hint: the likeliest name as a question; ``otherwise`` where none is like it."""
    similar = find_similar(name, known)
    return f"did you mean {similar[0]}?" if similar else otherwise
