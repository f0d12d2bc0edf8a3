"""The settings file → checked settings. Light: it runs in a Nix build, with click and jsonschema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ectools.errors import Problem, ProblemsError
from ectools.schemas import load_schema, read_settings
from ectools.vm.checks import find_boot_script_problems, find_problems
from ectools.vm.settings import SCHEMA_NAME, Settings, build_settings

if TYPE_CHECKING:
    from pathlib import Path


def load_settings(path: Path) -> Settings:
    """The settings in ``path``.

    Raises ProblemsError with every bad field: those the schema finds, else those ``checks.py`` finds.
    """
    settings = build_settings(_read(path))
    _refuse(path, find_problems(settings))
    return settings


def load_boot_script_settings(path: Path) -> Settings:
    """Settings of which only what the boot script is made of is checked: the rest may be missing."""
    settings = build_settings(_read(path))
    _refuse(path, list(find_boot_script_problems(settings.boot)))
    return settings


def _read(path: Path) -> dict[str, Any]:
    return read_settings(path, load_schema(SCHEMA_NAME))


def _refuse(path: Path, problems: list[Problem]) -> None:
    if problems:
        fields = "1 field" if len(problems) == 1 else f"{len(problems)} fields"
        raise ProblemsError(f"{path}: {fields} cannot be used", problems)
