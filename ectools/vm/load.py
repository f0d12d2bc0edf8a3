"""The settings file → checked settings. Light: it runs in a Nix build, with click and jsonschema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ectools.parsing import Problems
from ectools.schemas import load_schema, read_settings
from ectools.vm.build import build_boot_script_settings, build_guest_settings
from ectools.vm.settings import GUEST_OPTIONS, GUEST_SCHEMA

if TYPE_CHECKING:
    from pathlib import Path

    from ectools.vm.settings import BootScriptSettings, GuestSettings


def load_guest_settings(path: Path) -> GuestSettings:
    """The settings in ``path``.

    Raises ProblemsError with every bad field: those the schema finds, else those that are found while the
    settings are built.
    """
    problems = Problems(GUEST_OPTIONS)
    settings = build_guest_settings(_read(path), problems)
    if settings is None:
        raise problems.error(str(path))
    return settings


def load_boot_script_settings(path: Path) -> BootScriptSettings:
    """What the boot script is made of: the rest of the settings is not checked, and may be missing."""
    problems = Problems(GUEST_OPTIONS)
    settings = build_boot_script_settings(_read(path)["boot"], problems)
    if settings is None:
        raise problems.error(str(path))
    return settings


def _read(path: Path) -> dict[str, Any]:
    return read_settings(path, load_schema(GUEST_SCHEMA))
