"""The demo's network (``ectools.demo.netboot.lab``) for tests: as root, with names that no other test has.

lab.switch   the bridge, and the taps of the machines
lab.router   192.168.77.1: leases, and the boot options that somebody set in it (UniFi's "Network Boot")
lab.boot     192.168.77.2: for ``ectools netboot serve``
lab.client   192.168.77.3: for ``ectools netboot probe``
"""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING

from support.needs import give_up, require_root, require_tool

from ectools.demo.netboot.lab import (
    BOOT_IP,
    LAB_BRIDGE,
    NETWORK,
    ROUTER_IP,
    SUBNET,
    Lab,
    LabError,
    make_network,
    remove_network,
    start_router,
)
from ectools.processes import stop

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["BOOT_IP", "LAB_BRIDGE", "NETWORK", "ROUTER_IP", "SUBNET", "Lab", "build_netboot_lab", "run"]


def run(argv: Sequence[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (argv, done.stderr)
    return done.stdout


@contextlib.contextmanager
def build_netboot_lab(directory: Path, *, boot_file: str | None = None, leases: bool = True) -> Iterator[Lab]:
    """The network, up and with DHCP, for the length of the block. Takes root.

    ``boot_file``: the router names the boot host (siaddr) and this file to every client, as UniFi's "Network
    Boot" does; None: it gives leases alone. ``leases``: whether it has a DHCP server.
    """
    require_root("makes network namespaces")
    require_tool("ip", "install iproute2")
    require_tool("nsenter", "install util-linux")
    dnsmasq = require_tool("dnsmasq", "install dnsmasq (Debian: dnsmasq-base)")
    lab = Lab(directory)
    with contextlib.ExitStack() as stack:
        stack.callback(remove_network, lab)
        try:
            make_network(lab)
        except LabError as error:
            give_up(error.message)
        if leases:
            stack.callback(stop, start_router(lab, dnsmasq=dnsmasq, boot_file=boot_file), term_seconds=5)
        yield lab
