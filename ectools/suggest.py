"""What was probably meant by a name that nobody knows."""

from __future__ import annotations

import difflib
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_LIKENESS = 0.6  # of difflib's ratio: one letter wrong in three
# Names whose letters are compared, which takes some 30 microseconds each: a server answers others meanwhile.
_COMPARED = 200


def find_similar(name: str, known: Iterable[str], *, most: int = 1) -> list[str]:
    """The names that are nearly it, the likeliest first: by case, as its beginning, by their letters."""
    names = list(known)
    same = [other for other in names if other.lower() == name.lower()]
    begun = sorted(other for other in names if len(name) > 1 and other.startswith(name))
    close = difflib.get_close_matches(name, _choose_near(name, names), n=most, cutoff=_LIKENESS)
    return list(dict.fromkeys([*same, *begun, *close]))[:most]


def _choose_near(name: str, names: list[str]) -> list[str]:
    """Of many names those in which one letter may be wrong: that leaves one half of the name as it is."""
    if len(names) <= _COMPARED:
        return names
    half = len(name) // 2
    begin, end = name[:half], name[half + 1 :]
    lengths = range(len(name) - 1, len(name) + 2)
    near = (
        other for other in names if len(other) in lengths and (other.startswith(begin) or other.endswith(end))
    )
    return list(islice(near, _COMPARED))


def did_you_mean(name: str, known: Iterable[str], *, otherwise: str | None = None) -> str | None:
    """A hint: the likeliest name as a question; ``otherwise`` where none is like it."""
    similar = find_similar(name, known)
    return f"did you mean {similar[0]}?" if similar else otherwise
