"""Settings for the tests: what a user writes, read as a user's file is read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ectools.vm.load import load_guest_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ectools.vm.settings import GuestSettings

USABLE: dict[str, Any] = {"boot": {"http": {"root": "/srv/netboot"}}}


def merge(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """``base`` with ``change`` put over it, objects field by field."""
    merged = dict(base)
    for key, value in change.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


@pytest.fixture(scope="session")
def settings_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., GuestSettings]:
    """``settings_of({"boot": {…}})``: these fields, and the defaults of all others."""
    directory: Path = tmp_path_factory.mktemp("settings")

    def make(change: dict[str, Any] | None = None) -> GuestSettings:
        path = directory / "settings.json"
        path.write_text(json.dumps(merge(USABLE, change or {})))
        return load_guest_settings(path)

    return make
