"""A host description in JSON, YAML or TOML: its validation, and the NixOS module made from it."""

from __future__ import annotations

from ectools.host.generate import build_module
from ectools.host.load import Format, HostDescription, load, parse
from ectools.host.validate import OptionProblem, validate

__all__ = ["Format", "HostDescription", "OptionProblem", "build_module", "load", "parse", "validate"]
