"""Programs that are nowhere, for units that nobody starts."""

from __future__ import annotations

from pathlib import Path

from ectools.service.programs import Programs

PROGRAMS = Programs(
    ectools=Path("/opt/ec tools/bin/ectools"),
    runner=Path("/opt/ec tools/bin/every-channel-ipxe-qemu"),
    kill=Path("/usr/bin/kill"),
    nft=Path("/usr/sbin/nft"),
    systemctl=Path("/usr/bin/systemctl"),
    systemd=252,
)
