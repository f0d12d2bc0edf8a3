"""The settings file → checked settings. Light: it runs in a Nix build, with click and jsonschema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ectools.parsing import Problems
from ectools.schemas import load_schema
from ectools.settings_file import check_document, read_settings_file
from ectools.vm.build import build_boot_script_settings, build_guest_settings
from ectools.vm.settings import GUEST_OPTIONS, GUEST_SCHEMA

if TYPE_CHECKING:
    from pathlib import Path

    from ectools.settings_file import SettingsFile
    from ectools.vm.settings import BootScriptSettings, GuestSettings


def load_guest_settings(path: Path) -> GuestSettings:
    """The settings in ``path``: a settings file, or a host description that has them.

    Raises ProblemsError with every bad field: those the schema finds, else those that are found while the
    settings are built.
    """
    file, document = _read(path)
    problems = Problems(GUEST_OPTIONS)
    settings = build_guest_settings(document, problems)
    if settings is None:
        raise file.locate(problems.error(str(path)))
    return settings


def load_boot_script_settings(path: Path) -> BootScriptSettings:
    """What the boot script is made of: the rest of the settings is not checked, and may be missing."""
    file, document = _read(path)
    problems = Problems(GUEST_OPTIONS)
    settings = build_boot_script_settings(document["boot"], problems)
    if settings is None:
        raise file.locate(problems.error(str(path)))
    return settings


def _read(path: Path) -> tuple[SettingsFile, dict[str, Any]]:
    schema = load_schema(GUEST_SCHEMA)
    file = read_settings_file(path, schema)
    return file, check_document(file.document, schema, file=file, where=str(path))
