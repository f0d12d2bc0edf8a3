"""Units of systemd, as tests read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

IN_CONTAINER = """\
[Service]
ProtectControlGroups=no
ProtectProc=default
ProtectKernelTunables=no
ExecStart=
ExecStart={script} /etc/cmdline
"""
"""What a node's unit needs in a container, which shows the command line of this machine's kernel.

A /proc of the unit's own has this machine's boot id, and journalctl would show nothing of the container's.
"""


def read_unit(path: Path) -> dict[str, list[str]]:
    """Key → values, in the order of the file."""
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        key, separator, value = line.partition("=")
        if separator:
            found.setdefault(key, []).append(value)
    return found
