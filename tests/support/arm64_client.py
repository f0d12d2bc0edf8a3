"""ARM64 machines in QEMU that boot from the network by their firmware, AAVMF."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from support.boot_binaries import copy_aavmf
from support.needs import require_tool
from support.netboot_clients import Firmware, build_firmware_switches, run_machine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.netboot_clients import Client, Plug

ARM64_ARGUMENTS = "console=ttyAMA0 earlycon panic=-1"
"""A kernel's, for a console from its first line on."""


@contextlib.contextmanager
def start_arm64_client(plug: Plug, directory: Path, *, mac: str, over_http: bool = False) -> Iterator[Client]:
    """A machine that boots from the network alone, for the length of the block. ``directory`` is its own."""
    qemu = require_tool("qemu-system-aarch64", "install QEMU (Debian: qemu-system-arm)")
    code, variables = copy_aavmf(directory)
    switches = {"IPv6Support": "n", **({"IPv4PXESupport": "n"} if over_http else {})}
    argv = [
        *(*plug.wrapper, qemu, "-nodefaults", "-display", "none", "-no-reboot"),
        # A processor that is named: all features of "max" take their time to emulate.
        *("-machine", "virt,accel=tcg,gic-version=3", "-cpu", "cortex-a57", "-m", "512"),
        *("-serial", f"file:{directory / 'console'}", "-device", "virtio-rng-pci"),
        *("-netdev", f"{plug.netdev},id=net"),
        *("-device", f"virtio-net-pci,netdev=net,mac={mac},bootindex=1,romfile="),
        *("-drive", f"if=pflash,format=raw,readonly=on,file={code}"),
        *("-drive", f"if=pflash,format=raw,file={variables}"),
        *build_firmware_switches(switches),
    ]
    firmware = Firmware.OVMF_HTTP if over_http else Firmware.OVMF_PXE
    with run_machine(argv, plug, firmware, directory, mac=mac) as client:
        yield client
