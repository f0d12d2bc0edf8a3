"""What options of several commands have in common: how a time is given, and the inputs of a flake."""

from __future__ import annotations

import math
from typing import Any

import click


class Seconds(click.FloatRange):
    """A number within bounds. ``nan`` and ``inf`` are none: nobody can wait for so long."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Raises click.BadParameter."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no time in seconds", param, ctx)
        return number


OVERRIDE_INPUT = click.option(
    "--override-input",
    "inputs",
    nargs=2,
    multiple=True,
    metavar="NAME REF",
    help="Replace an input of the flake; its lock file is not touched.",
)
