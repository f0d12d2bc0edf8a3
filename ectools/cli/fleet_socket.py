"""The option that names the control socket of a boot server, and its default."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from ectools.netboot.api.client import FleetClient

CONTROL_SOCKET = Path("/run/every-channel/netboot/control.sock")
"""Where the service has it."""


def socket_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--socket``."""
    return click.option(
        "--socket",
        "sock",
        type=click.Path(path_type=Path),
        metavar="PATH",
        help=f"The boot server's control socket.  [default: {CONTROL_SOCKET}]",
    )(command)


def open_client(sock: Path | None) -> FleetClient:
    """A client of the boot server that was named, or of this machine's."""
    from ectools.netboot.api.client import FleetClient as Client

    return Client(sock or CONTROL_SOCKET)
