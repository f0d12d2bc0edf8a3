"""Keys and values of a store, of every implementation: which there are, and how they are written."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from ectools.netboot.state.interface import MAX_KEY_LENGTH, MAX_VALUE_BYTES, StateError

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEY = re.compile(r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*", re.ASCII)


def check_key(key: str) -> None:
    """Raises ValueError: a key is made by this program, not by whoever speaks to it."""
    if len(key) > MAX_KEY_LENGTH or _KEY.fullmatch(key) is None:
        raise ValueError(f"{key[:MAX_KEY_LENGTH]!r} is no key of the state")


def encode_value(what: str, value: Mapping[str, Any]) -> str:
    """JSON. Raises StateError: it is too large to be remembered; ``what`` names it."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    if len(text) > MAX_VALUE_BYTES:
        raise StateError(f"{what}: {len(text)} bytes are to be remembered, of {MAX_VALUE_BYTES} at most")
    return text
