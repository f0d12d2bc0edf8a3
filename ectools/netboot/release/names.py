"""Which names a file of a release may have: one spelling each, plain on every file system and in every URL."""

from __future__ import annotations

import unicodedata

MANIFEST_NAME = "release.json"
"""Stands in each release's folder and is no file of it."""

MAX_NAME_BYTES = 1024
MAX_SEGMENT_BYTES = 255
MAX_DEPTH = 16


def find_name_fault(name: str) -> str | None:
    """Why ``name`` cannot be a file of a release (a sentence's end: ``is absolute``); None where it can.

    A name is relative, its segments are joined by ``/``, and none of them is empty, ``.`` or ``..``.
    """
    if not name:
        return "is empty"
    if name.startswith("/"):
        return "is absolute"
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "is not UTF-8"
    segments = name.split("/")
    if ".." in segments:
        return "leads out of the folder"
    if "" in segments or "." in segments:
        return "has an empty segment"
    if size > MAX_NAME_BYTES or any(len(segment.encode()) > MAX_SEGMENT_BYTES for segment in segments):
        return f"is longer than {MAX_NAME_BYTES} bytes, or than {MAX_SEGMENT_BYTES} in a segment"
    if len(segments) > MAX_DEPTH:
        return f"lies more than {MAX_DEPTH} folders deep"
    if any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") or char == "\\" for char in name):
        return "has a control character or a backslash"
    if name == MANIFEST_NAME:
        return "is the name of the release's own record"
    return None


def fold_name(name: str) -> str:
    """What two names share that a file system may take for one: case and Unicode form are ignored."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
