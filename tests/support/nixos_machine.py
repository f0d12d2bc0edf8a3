"""A NixOS system in QEMU, emulated, as it was built; its shell is that of support/nixos_agent.py."""

from __future__ import annotations

import base64
import contextlib
import shlex
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from support.boot_binaries import copy_ovmf
from support.machine import COMMAND_SECONDS, DIES_WITH_TESTS, Done, Machine, MachineError
from support.needs import require_tool
from support.nixos_agent import DONE, HELLO, build_agent_arguments

from ectools.demo.netboot.lab import Plug

BOOT_SECONDS = 1500
"""A boot takes 75 to 240 s on a quiet machine, which emulates; more where it is loaded."""

OFF_SECONDS = 400
MAC = "52:54:00:ec:00:01"


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """``uefi``: OVMF; else SeaBIOS. ``devices``: QEMU's arguments for what it boots from.

    ``pxe``: the card is the first thing to boot from. ``strings``: what its firmware tells the system
    (SMBIOS, type 11).
    """

    uefi: bool
    devices: Sequence[str] = ()
    pxe: bool = False
    strings: Sequence[str] = ()
    memory_mib: int = 2048


class NixosMachine(Machine):
    """QEMU, and the connection to the agent in the system that it runs."""

    def __init__(self, process: subprocess.Popen[bytes], channel: socket.socket, directory: Path) -> None:
        self._process = process
        self._channel = channel
        self._directory = directory
        self._pending = b""
        self._number = 0
        self.boot_id = ""

    def execute(self, argv: Sequence[str], stdin: str = "") -> Done:
        self._send(argv, stdin)
        deadline = time.monotonic() + COMMAND_SECONDS + 60
        while True:
            answer = self._read_line(deadline)
            if HELLO.match(answer):
                raise self._error(f"{list(argv)}: the machine has restarted")
            found = DONE.match(answer)
            if found is not None and int(found[1]) == self._number:
                out, err = (base64.b64decode(each).decode("utf-8", "replace") for each in found.groups()[2:])
                return Done(int(found[2]), out, err)

    def _send(self, argv: Sequence[str], stdin: str = "") -> None:
        """Have a command run, whose answer somebody may wait for."""
        self._number += 1
        command = f"timeout {COMMAND_SECONDS} {shlex.join(argv)}"
        given = base64.b64encode(stdin.encode()).decode()
        script = f"base64 -d <<< '{given}' | {command}" if stdin else command
        line = f"{self._number} {base64.b64encode(script.encode()).decode()}\n"
        try:
            self._channel.settimeout(COMMAND_SECONDS)
            self._channel.sendall(line.encode())
        except OSError as error:
            raise self._error(f"{list(argv)}: cannot be sent: {error}") from error

    def read_console(self) -> str:
        said = (self._directory / "qemu.log").read_text(errors="replace")
        return said + (self._directory / "console").read_text(errors="replace")

    @property
    def has_kernel(self) -> bool:
        return True

    def wait_hello(self) -> None:
        """Until the agent of a new boot speaks."""
        deadline = time.monotonic() + BOOT_SECONDS
        while (found := HELLO.match(self._read_line(deadline))) is None:
            pass
        boot = found[1].decode()
        if boot == self.boot_id:
            raise self._error("the agent started anew without a boot")
        self.boot_id = boot

    def wait_boot(self) -> str:
        """What ``systemctl is-system-running`` says of a new boot once all of its first jobs are done."""
        self.wait_hello()
        while True:
            done = self.execute(["systemctl", "is-system-running", "--wait"])
            if done.status != 124:
                return done.stdout.strip()

    def reboot(self) -> str:
        """``wait_boot`` after a restart of the system."""
        self.begin_reboot()
        return self.wait_boot()

    def begin_reboot(self) -> None:
        """Have the system restart."""
        # The agent may end before it has answered.
        self._send(["systemctl", "reboot", "--no-block"])

    def power_off(self) -> None:
        """By the system itself, to the end of the machine."""
        self._send(["systemctl", "poweroff", "--no-block"])
        try:
            status = self._process.wait(OFF_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise self._error(f"still on after {OFF_SECONDS} s") from error
        assert status == 0, self.read_console()

    def _read_line(self, deadline: float) -> bytes:
        while b"\n" not in self._pending:
            self._channel.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                data = self._channel.recv(65536)
            except TimeoutError as error:
                raise self._error("the machine does not answer in time") from error
            except OSError as error:
                raise self._error(f"the machine died: {error}") from error
            if not data:
                raise self._error(f"the machine ended: {self._process.wait()}")
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        return line.rstrip(b"\r")

    def _error(self, message: str) -> MachineError:
        return MachineError(f"{message}\n--- console\n{self.read_console()[-4000:]}")


@contextlib.contextmanager
def start_nixos(plug: Plug, hardware: Hardware, directory: Path, *, mac: str = MAC) -> Iterator[NixosMachine]:
    """A machine for the length of the block, not yet booted; ``directory`` is its own."""
    qemu = require_tool("qemu-system-x86_64", "install QEMU (Debian: qemu-system-x86)")
    directory.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        # Of a socket's path the kernel takes 107 bytes, and a test's own directory may have more.
        agent = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ec-"))) / "agent"
        argv = [
            *(*DIES_WITH_TESTS, *plug.wrapper, qemu, "-nodefaults", "-no-user-config", "-display", "none"),
            # Without graphics, SeaBIOS and its ROMs speak on the serial port. One core: with more, an
            # emulated kernel dies now and then of code that it has just changed.
            *("-machine", "q35,accel=tcg,graphics=off", "-cpu", "max", "-smp", "1"),
            *("-m", str(hardware.memory_mib), "-device", "virtio-rng-pci"),
            *("-serial", f"file:{directory / 'console'}", *build_agent_arguments(agent, hardware.strings)),
            *("-netdev", f"{plug.netdev},id=net"),
            *("-device", f"virtio-net-pci,netdev=net,mac={mac},addr=8{_choose_rom(hardware)}"),
            *(_build_ovmf(directory) if hardware.uefi else ()),
            *hardware.devices,
        ]
        with (directory / "qemu.log").open("wb") as log:
            (directory / "console").touch()
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        stack.callback(process.wait)
        stack.callback(process.kill)
        channel = stack.enter_context(socket.socket(socket.AF_UNIX))
        connect(channel, agent, process, directory)
        yield NixosMachine(process, channel, directory)


def _choose_rom(hardware: Hardware) -> str:
    # OVMF has a driver of its own; the ROM's iPXE would boot in its place.
    rom = "" if hardware.pxe and not hardware.uefi else ",romfile="
    return f"{rom},bootindex=1" if hardware.pxe else rom


def _build_ovmf(directory: Path) -> list[str]:
    code, variables = copy_ovmf(directory)
    return [
        *("-drive", f"if=pflash,format=raw,readonly=on,file={code}"),
        *("-drive", f"if=pflash,format=raw,file={variables}"),
        # It would try it first, for half a minute.
        *("-fw_cfg", "name=opt/org.tianocore/IPv6Support,string=n"),
    ]


def connect(channel: socket.socket, agent: Path, process: subprocess.Popen[bytes], directory: Path) -> None:
    """Connect to the agent's socket once QEMU listens; ``directory`` has its ``qemu.log``."""
    deadline = time.monotonic() + COMMAND_SECONDS
    while True:
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
            channel.connect(str(agent))
            return
        said = (directory / "qemu.log").read_text(errors="replace")
        assert process.poll() is None, f"QEMU does not start: {said}"
        assert time.monotonic() < deadline, f"QEMU does not listen: {said}"
        time.sleep(0.05)
