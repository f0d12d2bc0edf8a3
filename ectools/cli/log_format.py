"""``--log-format`` of the commands that serve."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import click

from ectools import log

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")

_OPTION = click.option(
    "--log-format",
    type=click.Choice(["auto", "json", "text"]),
    default="auto",
    show_default=True,
    help="Form of the lines on standard error; auto is text on a terminal and JSON elsewhere.",
)


def log_format_option(command: Callable[..., _T]) -> Callable[..., _T]:
    """The option, as the parameter ``log_format``."""
    return _OPTION(command)


def use_log_format(log_format: str) -> None:
    """Have the log of what serves as the option says: ``auto`` is JSON unless a person looks at it."""
    log.set_up(json_lines=None if log_format == "auto" else log_format == "json")
