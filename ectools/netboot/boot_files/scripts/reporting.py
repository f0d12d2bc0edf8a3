"""What a script says of its own boot: by a public id in URLs, by a token in the kernel's arguments.

The kernel's arguments, which ``ec-report`` reads (nix/modules/ec-report.nix)::

    every_channel.report=http://192.0.2.10:8080/report?boot=<token>
    every_channel.release=<the release's id>
    every_channel.healthy_within=<seconds>
    every_channel.health_units=<unit>,<unit>        where there are any
    every_channel.install=<order>                   what is booted is to install (nix/modules/ec-install.nix)
"""

from __future__ import annotations

from dataclasses import dataclass

REPORT_NAME = "report"
"""The path below the boot server's base URL that takes what a node says of its boot."""
ASSIGNMENT_NAME = "assignment"
"""The path that says what a node that runs is to boot next."""
DISK_BOOT_NAME = "disk-boot"
"""The path at which a system on a disk says that it has booted."""
DISK_UPDATE_NAME = "disk-update"
"""The path at which it says how it goes on to another release."""
NEXT_NAME = "next"
"""The path that gives a node that runs what it starts next by itself."""
BOOT_PARAMETER = "boot"
"""Of a query: the boot's id with a file, its token with a report or an assignment."""

# No file's name: they begin with a letter or a digit (is_file_name).
_IMAGE = "_mark"
_MARK_SECONDS = 5


@dataclass(frozen=True, kw_only=True)
class ScriptBoot:
    """``within``: seconds to the report; ``units`` have to be active by then. ``order``: of an install."""

    id: str
    token: str
    within: int
    units: tuple[str, ...] = ()
    order: str | None = None

    @property
    def query(self) -> str:
        """Of the boot server's own files: which boot fetches them."""
        return f"{BOOT_PARAMETER}={self.id}"

    def build_url(self, base_url: str) -> str:
        """Where its node reports."""
        return f"{base_url}/{REPORT_NAME}?{BOOT_PARAMETER}={self.token}"

    def build_arguments(self, base_url: str, release_id: str) -> tuple[str, ...]:
        """The kernel's."""
        return (
            f"every_channel.report={self.build_url(base_url)}",
            f"every_channel.release={release_id}",
            f"every_channel.healthy_within={self.within}",
            *([f"every_channel.health_units={','.join(self.units)}"] if self.units else []),
            *([] if self.order is None else [f"every_channel.install={self.order}"]),
        )

    def mark_loaded(self, base_url: str) -> list[str]:
        """Say that everything is loaded, from wherever; who is not heard boots all the same."""
        url = f"{self.build_url(base_url)}&stage=loaded"
        return [
            f"imgfetch --name {_IMAGE} --timeout {_MARK_SECONDS * 1000} {url} ||",
            # What is left in the memory would be an initrd.
            f"imgfree {_IMAGE} ||",
        ]
