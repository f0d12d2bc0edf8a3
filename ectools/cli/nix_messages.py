"""What Nix says while it evaluates, as commands show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pynix_eval_shim import NixMessage


def show_nix_message(message: NixMessage) -> None:
    """A warning or a trace of an evaluation, on standard error."""
    click.echo(f"{message.kind}: {message.text}", err=True)
