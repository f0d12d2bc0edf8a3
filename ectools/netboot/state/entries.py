"""Keys and values of a store, of every implementation: which there are, and how they are written."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from ectools.netboot.state.decode import (
    need_mapping,
    parse_object,
    read_count,
    read_text,
    read_text_if_any,
    read_time,
)
from ectools.netboot.state.interface import MAX_KEY_LENGTH, MAX_VALUE_BYTES, StateError

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_WORD = 128
_KEY = re.compile(r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*", re.ASCII)


def is_key(key: str) -> bool:
    """Whether a text may be one."""
    return len(key) <= MAX_KEY_LENGTH and _KEY.fullmatch(key) is not None


def check_key(key: str) -> None:
    """Raises ValueError: a key is made by this program, not by whoever speaks to it."""
    if not is_key(key):
        raise ValueError(f"{key[:MAX_KEY_LENGTH]!r} is no key of the state")


def encode_value(what: str, value: Mapping[str, Any]) -> str:
    """JSON. Raises StateError: it is too large to be remembered; ``what`` names it."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    if len(text) > MAX_VALUE_BYTES:
        raise StateError(f"{what}: {len(text)} bytes are to be remembered, of {MAX_VALUE_BYTES} at most")
    return text


def read_event(fields: Mapping[str, Any]) -> dict[str, Any]:
    """An event that a host has sent, without what a later version has added. Raises ValueError."""
    return {
        "kind": read_text(fields, "kind", most=_MAX_WORD),
        "subject": read_text(fields, "subject"),
        "by": read_text_if_any(fields, "by"),
        "data": need_mapping(fields.get("data"), "data"),
        "at": read_time(fields, "at"),
        "writer": read_text(fields, "writer", most=_MAX_WORD),
        "number": read_count(fields, "number", least=1),
    }


def read_deletion(payload: bytes, taken: float) -> float:
    """When a key was deleted, by its mark, which came at ``taken``; other programs do not say."""
    try:
        return min(read_time(parse_object(payload), "t"), taken)
    except ValueError:
        return taken
