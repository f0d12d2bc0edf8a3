"""The schemas that a host description is checked against where none is named."""

from __future__ import annotations

import functools

from ectools.schemas import Schema, load_schema

_NAMES = ("ec-ipxe-qemu",)


@functools.cache
def load_known_schemas() -> tuple[Schema, ...]:
    """The schema of each module that a host description may set."""
    return tuple(load_schema(name) for name in _NAMES)
