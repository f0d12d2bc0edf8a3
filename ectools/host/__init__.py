"""A host description in JSON, YAML or TOML: its validation, and the NixOS module made from it.

``combined_schema`` of several modules · ``fast_validate``, ``validate`` · ``generate`` the module ·
``example`` a description to start from · ``wrapped`` the settings of one service as a description ·
``editor_schema`` the schema of a whole description, for editors · ``program_types`` its types for programs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.documents.load import HostDescription, HostFormat, load_host, load_value, parse_host
from ectools.documents.problem import OptionProblem
from ectools.host.validate import validate_host

if TYPE_CHECKING:
    from ectools.schemas import Schema

__all__ = [
    "HostDescription",
    "HostFormat",
    "OptionProblem",
    "build_module",
    "load_host",
    "load_value",
    "parse_host",
    "validate_host",
]


def build_module(description: HostDescription, schema: Schema | None = None) -> str:
    """The NixOS module that sets what a valid description says; see ``ectools.host.generate``."""
    # Imported here because whoever only validates must not wait for the renderer.
    from ectools.host import generate

    return generate.render_host_module(description, schema)
