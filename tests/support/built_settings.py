"""Settings of a boot server from a document, and the problems of one that is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from ectools.errors import ProblemsError
from ectools.netboot.settings.build import build_server_settings
from ectools.netboot.settings.model import (
    NETBOOT_OPTIONS,
    NETBOOT_SCHEMA,
    ServerSettings,
)
from ectools.parsing import Problems
from ectools.schemas import check_settings, load_schema

HERE = {"listenIP": "192.0.2.10"}
SCHEMA = load_schema(NETBOOT_SCHEMA)


def build(document: dict[str, Any]) -> ServerSettings:
    raw = check_settings({**HERE, **document}, SCHEMA, where="test")
    problems = Problems(NETBOOT_OPTIONS)
    settings = build_server_settings(raw, problems)
    if settings is None:
        raise problems.error("test")
    assert problems.found == []
    return settings


def find_problems(document: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    """The option, the message and what was expected, of each problem."""
    with pytest.raises(ProblemsError) as caught:
        build(document)
    return [
        (problem.option.removeprefix(f"{NETBOOT_OPTIONS}."), problem.message, problem.expected)
        for problem in caught.value.problems
    ]
