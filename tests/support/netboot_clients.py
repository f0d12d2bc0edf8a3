"""QEMU machines that boot from the network by their firmware: SeaBIOS with a PXE ROM, OVMF by PXE or HTTP."""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from support.boot_binaries import copy_ovmf
from support.guests import wait_until
from support.needs import require_tool

from ectools.demo.netboot.lab import Plug

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

BOOT_SECONDS = 400
"""A boot takes 20 to 30 s on a quiet machine; this one emulates, and may be loaded."""

# Cursor movements and colours; a character that is taken back at once.
_ESCAPES = re.compile(r"\x1b\[[0-9;=?]*[A-Za-z]|\x1b[()=>][0-9A-Z]?|[\r\x00]")


class Firmware(StrEnum):
    """What finds the first stage. SeaBIOS's PXE is QEMU's own ROM, which is an iPXE."""

    SEABIOS = "SeaBIOS"
    OVMF_PXE = "OVMF PXE"
    OVMF_HTTP = "OVMF HTTP boot"


@dataclass(frozen=True, kw_only=True)
class SecondNic:
    """A NIC that the machine does not boot from. ``netdev``: QEMU's, without its id.

    Firmware and iPXE count NICs by their slots: it is the first one where ``is_first``.
    """

    netdev: str
    is_first: bool
    mac: str = "52:54:00:99:99:99"

    def build_arguments(self) -> tuple[str, ...]:
        slot = 7 if self.is_first else 9
        device = f"virtio-net-pci,netdev=other,mac={self.mac},romfile=,addr={slot},id=other"
        return ("-netdev", f"{self.netdev},id=other", "-device", device)


@dataclass
class Client:
    """A running machine."""

    process: subprocess.Popen[bytes]
    firmware: Firmware
    console_file: Path
    mac: str
    plug: Plug

    @property
    def console(self) -> str:
        """All that its serial console showed, without escapes. SeaBIOS breaks lines at 80 columns."""
        text = self.console_file.read_bytes().decode("utf-8", "replace")
        return _ESCAPES.sub("", text)

    def shows(self, *texts: str) -> str | None:
        """The one of ``texts`` that the console showed first, over broken lines too; None: it shows none."""
        joined = self.console.replace("\n", "")
        shown = [text for text in texts if text in joined]
        return min(shown, key=joined.index, default=None)

    def wait_for_line(self, beginning: str) -> None:
        """Until a line that begins so is whole: what is shown at first may be a part of it."""
        self.wait_for(beginning)
        wait_until(lambda: "\n" in self.console.partition(beginning)[2], f"the line {beginning} is whole")

    def wait_for(self, *texts: str, seconds: float = BOOT_SECONDS) -> str:
        """``shows``, once it shows one. The failure holds the console where none came in time."""
        deadline = time.monotonic() + seconds
        while True:
            ended = self.process.poll() is not None
            if (found := self.shows(*texts)) is not None:
                return found
            assert not ended, f"{self.firmware} ended before {texts}:\n{self.console}"
            assert time.monotonic() < deadline, (
                f"{self.firmware} after {seconds} s without {texts}:\n{self.console}"
            )
            time.sleep(0.05)


@contextlib.contextmanager
def start_client(
    plug: Plug,
    firmware: Firmware,
    directory: Path,
    *,
    mac: str = "52:54:00:12:34:56",
    memory_mib: int = 256,
    secure: bool = False,
    rom: Path | None = None,
    other: SecondNic | None = None,
    extra: Sequence[str] = (),
) -> Iterator[Client]:
    """A machine that boots from the network alone, for the length of the block.

    ``directory`` is its own. ``rom``: a PXE ROM for SeaBIOS in place of the one that QEMU brings. ``secure``:
    with Secure Boot on, and Microsoft's keys.
    """
    qemu = require_tool("qemu-system-x86_64", "install QEMU (Debian: qemu-system-x86)")
    argv = [
        *(*plug.wrapper, qemu),
        *("-nodefaults", "-display", "none", "-no-reboot"),
        # Without graphics, SeaBIOS and its ROMs speak on the serial port.
        *("-machine", f"q35,accel=tcg,graphics=off{',smm=on' if secure else ''}", "-cpu", "max"),
        *("-m", str(memory_mib)),
        *("-serial", f"file:{directory / 'console'}", "-device", "virtio-rng-pci"),
        *("-netdev", f"{plug.netdev},id=net"),
        *("-device", f"virtio-net-pci,netdev=net,mac={mac},bootindex=1,addr=8{_choose_rom(firmware, rom)}"),
        *(other.build_arguments() if other is not None else ()),
        *_build_firmware(firmware, directory, secure=secure),
        *extra,
    ]
    with run_machine(argv, plug, firmware, directory, mac=mac) as client:
        yield client


@contextlib.contextmanager
def run_machine(
    argv: Sequence[str], plug: Plug, firmware: Firmware, directory: Path, *, mac: str
) -> Iterator[Client]:
    """QEMU, for the length of the block; its serial port writes to ``directory / "console"``."""
    console = directory / "console"
    console.touch()
    with (directory / "qemu.log").open("wb") as log:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield Client(process, firmware, console, mac, plug)
    finally:
        process.kill()
        process.wait()


def _choose_rom(firmware: Firmware, rom: Path | None) -> str:
    if firmware is not Firmware.SEABIOS:
        # Else QEMU's iPXE ROM boots from the network in the firmware's place.
        return ",romfile="
    # SeaBIOS skips the ROM of a card that is modern as well as legacy where the ROM names the modern one.
    return "" if rom is None else f",romfile={rom},disable-legacy=on"


def _build_firmware(firmware: Firmware, directory: Path, *, secure: bool) -> list[str]:
    if firmware is Firmware.SEABIOS:
        return []
    code, variables = copy_ovmf(directory, secure=secure)
    switches = {"IPv6Support": "n"}
    if firmware is Firmware.OVMF_HTTP:
        # One boot entry of the card is PXE's, and would come first.
        switches |= {"IPv4PXESupport": "n"}
    return [
        # Its variables are the firmware's alone to write, in system management mode.
        *(("-global", "driver=cfi.pflash01,property=secure,value=on") if secure else ()),
        *("-drive", f"if=pflash,format=raw,readonly=on,file={code}"),
        *("-drive", f"if=pflash,format=raw,file={variables}"),
        *build_firmware_switches(switches),
    ]


def build_firmware_switches(switches: Mapping[str, str]) -> list[str]:
    """Settings of EDK II's network drivers, by their names in QEMU's fw_cfg."""
    return [
        word
        for name, value in switches.items()
        for word in ("-fw_cfg", f"name=opt/org.tianocore/{name},string={value}")
    ]
