"""Options and a reference as the formats get them, made without a schema."""

from __future__ import annotations

from typing import Any

from ectools.docs.model import ModuleDoc, OptionDoc, make_anchor
from ectools.docs.reference import Reference

_NOTHING_MORE: dict[str, Any] = {
    "description": "",
    "type": "string",
    "constraints": (),
    "default": None,
    "example": None,
    "declarations": (),
    "related_packages": "",
    "read_only": False,
    "internal": False,
    "required": False,
}


def make_option(name: str, **fields: Any) -> OptionDoc:
    """An option of which nothing is known but its name, and ``fields``. No name in it holds a dot."""
    path = tuple(name.split("."))
    return OptionDoc(path=path, name=name, anchor=make_anchor(name), **(_NOTHING_MORE | fields))


def make_reference(
    *options: OptionDoc, prefix: str = "a", redirects: dict[str, str] | None = None
) -> Reference:
    """A reference with the one module ``demo``."""
    return Reference((ModuleDoc("demo", prefix, options),), redirects or {})
