"""The settings file → checked settings. Light: it runs in a Nix build, with click and jsonschema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ectools.parsing import Problems
from ectools.schemas import load_schema, read_settings
from ectools.vm.build import build_boot_script_settings, build_settings
from ectools.vm.settings import OPTION_PREFIX, SCHEMA_NAME

if TYPE_CHECKING:
    from pathlib import Path

    from ectools.vm.settings import BootScriptSettings, Settings


def load_settings(path: Path) -> Settings:
    """The settings in ``path``.

    Raises ProblemsError with every bad field: those the schema finds, else those that are found while the
    settings are built.
    """
    problems = Problems(OPTION_PREFIX)
    settings = build_settings(_read(path), problems)
    if settings is None:
        raise problems.error(str(path))
    return settings


def load_boot_script_settings(path: Path) -> BootScriptSettings:
    """What the boot script is made of: the rest of the settings is not checked, and may be missing."""
    problems = Problems(OPTION_PREFIX)
    settings = build_boot_script_settings(_read(path)["boot"], problems)
    if settings is None:
        raise problems.error(str(path))
    return settings


def _read(path: Path) -> dict[str, Any]:
    return read_settings(path, load_schema(SCHEMA_NAME))
