"""A host description in JSON, YAML or TOML: its validation, and the NixOS module made from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.host.load import HostDescription, HostFormat, load_host, load_value, parse_host
from ectools.host.problem import OptionProblem
from ectools.host.validate import validate_host

if TYPE_CHECKING:
    from ectools.schemas import Schema

__all__ = [
    "Format",
    "HostDescription",
    "OptionProblem",
    "build_module",
    "load",
    "load_value",
    "parse",
    "validate",
]


def build_module(description: HostDescription, schema: Schema | None = None) -> str:
    """The NixOS module that sets what a valid description says; see ``ectools.host.generate``."""
    # Imported here because whoever only validates must not wait for the renderer.
    from ectools.host import generate

    return generate.build_module(description, schema)
