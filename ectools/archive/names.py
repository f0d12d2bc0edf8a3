"""Which names a file of a release may have: plain ones, on every file system and in every URL."""

from __future__ import annotations

import re
import unicodedata

MANIFEST_NAME = "release.json"
"""Stands in each release's directory and is no file of it."""

MAX_NAME_BYTES = 1024
MAX_SEGMENT_BYTES = 255
MAX_NAME_DEPTH = 16


# What macOS puts beside files: AppleDouble's halves (RFC 1740), Finder's notes, and zip's directory of both.
_MACOS = re.compile(r"(?:.*/)?(?:\._[^/]+|\.DS_Store)|(?:.*/)?__MACOSX(?:/.*)?", re.DOTALL)

# What nearly all names are: for these one look is enough, and a release may have many.
_SEGMENT = rf"(?!\.\.?(?:/|\Z))[A-Za-z0-9._+-]{{1,{MAX_SEGMENT_BYTES}}}"
_PLAIN = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT}){{0,{MAX_NAME_DEPTH - 1}}}")


def find_name_fault(name: str) -> str | None:
    """Why ``name`` cannot be a file of a release (a sentence's end: ``is absolute``); None where it can.

    A name is relative, its segments are joined by ``/``, and none of them is empty, ``.`` or ``..``.
    """
    if len(name) <= MAX_NAME_BYTES and name != MANIFEST_NAME and _PLAIN.fullmatch(name):
        return None
    return _look_closer(name)


def is_macos_record(name: str) -> bool:
    """Whether macOS made the file of its own accord, for another one: nothing of a release."""
    return _MACOS.fullmatch(name) is not None


def _look_closer(name: str) -> str | None:
    segments = name.split("/")
    sizes = [len(segment.encode("utf-8", "surrogatepass")) for segment in segments]
    faults = {
        "is empty": not name,
        "is absolute": name.startswith("/"),
        "leads out of the directory": ".." in segments,
        "has an empty segment": "" in segments or "." in segments,
        "is not UTF-8": any("\ud800" <= char <= "\udfff" for char in name),
        "has a control character or a backslash": any(map(_is_odd, name)),
        f"is longer than {MAX_NAME_BYTES} bytes": sum(sizes) + len(sizes) - 1 > MAX_NAME_BYTES,
        f"has a segment of more than {MAX_SEGMENT_BYTES} bytes": max(sizes) > MAX_SEGMENT_BYTES,
        f"lies more than {MAX_NAME_DEPTH} directories deep": len(segments) > MAX_NAME_DEPTH,
        "is the name of the release's own record": name == MANIFEST_NAME,
    }
    return next((fault for fault, found in faults.items() if found), None)


def _is_odd(char: str) -> bool:
    return char == "\\" or unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp")


def fold_name(name: str) -> str:
    """What two names share that a file system may take for one: case and Unicode form are ignored."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
