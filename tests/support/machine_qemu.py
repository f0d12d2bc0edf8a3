"""A machine in QEMU, emulated: an own kernel, own control groups, and a reboot that is one."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from support.machine import COMMAND_SECONDS, DIES_WITH_TESTS, Done, Machine, MachineError
from support.machine_image import Image
from support.machine_store import Store
from support.needs import require_tool

BOOT_SECONDS = 120
"""A boot takes 6 to 10 s on a quiet machine."""

_CMDLINE = (
    "root=/dev/nvme0n1 rw init=/sbin/machine-init console=ttyS0 systemd.unit=multi-user.target "
    "mitigations=off net.ifnames=0 systemd.firstboot=off"
)


class QemuMachine(Machine):
    """QEMU, and the connection to the agent in its guest."""

    def __init__(self, process: subprocess.Popen[bytes], channel: socket.socket, console: Path) -> None:
        self._process = process
        self._channel = channel
        self._console = console
        self._pending = b""
        self._boot = ""

    def execute(self, argv: Sequence[str], stdin: str = "") -> Done:
        request = {"argv": list(argv), "stdin": stdin, "seconds": COMMAND_SECONDS}
        try:
            self._channel.settimeout(COMMAND_SECONDS)
            self._channel.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise self._error(f"{list(argv)}: cannot be sent: {error}") from error
        answer = self._receive(COMMAND_SECONDS + 60)
        return Done(answer["status"], answer["stdout"], answer["stderr"])

    def read_console(self) -> str:
        return self._console.read_text(errors="replace")

    @property
    def has_kernel(self) -> bool:
        return True

    def wait_boot(self) -> None:
        """Until the agent of a new boot speaks and all of its first jobs are done."""
        boot = self._receive(BOOT_SECONDS)["boot"]
        if boot == self._boot:
            raise self._error("the agent started anew without a boot")
        self._boot = boot
        state = self.execute(["systemctl", "is-system-running", "--wait"]).stdout.strip()
        if state != "running":
            raise self._error(f"the machine is {state}:\n{self.run('systemctl', '--failed', check=False)}")

    def reboot(self) -> None:
        """Restart the machine's system, and wait until it is up again; its disk stays what it is."""
        self.run("systemctl", "reboot", "--no-block")
        self.wait_boot()

    def _receive(self, seconds: float) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while b"\n" not in self._pending:
            self._channel.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                data = self._channel.recv(65536)
            except TimeoutError as error:
                raise self._error(f"the machine does not answer within {seconds} s") from error
            except OSError as error:
                raise self._error(f"the machine died: {error}") from error
            if not data:
                raise self._error("the machine died")
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _error(self, message: str) -> MachineError:
        return MachineError(f"{message}\n--- console\n{self.read_console()[-4000:]}")


@contextlib.contextmanager
def boot_qemu(
    directory: Path, image: Image, store: Store, *, wrapper: Sequence[str] = (), devices: Sequence[str] = ()
) -> Iterator[QemuMachine]:
    """A machine for the length of the block; ``wrapper`` starts QEMU, ``devices`` are further arguments.

    A boot that fails is tried once more: emulated guests hang, rarely.
    """
    qemu = require_tool("qemu-system-x86_64", "install QEMU (Debian: qemu-system-x86)")
    with contextlib.ExitStack() as stack:
        try:
            machine = stack.enter_context(_start_qemu([*wrapper, qemu], directory, image, store, devices))
            machine.wait_boot()
        except MachineError as first:
            stack.close()
            machine = stack.enter_context(_start_qemu([*wrapper, qemu], directory, image, store, devices))
            try:
                machine.wait_boot()
            except MachineError as second:
                raise MachineError(f"two boots failed: {first}\n--- and again: {second}") from second
        yield machine


@contextlib.contextmanager
def _start_qemu(
    program: Sequence[str], directory: Path, image: Image, store: Store, devices: Sequence[str]
) -> Iterator[QemuMachine]:
    console = directory / "console"
    console.write_bytes(b"")
    here, there = socket.socketpair()
    with here, (directory / "qemu.stderr").open("wb") as errors:
        with there:
            process = subprocess.Popen(
                [*DIES_WITH_TESTS, *program, *_build_argv(image, store, console, there.fileno()), *devices],
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                pass_fds=[there.fileno()],
                start_new_session=True,
            )
        try:
            yield QemuMachine(process, here, console)
        finally:
            process.kill()
            process.wait()


def _build_argv(image: Image, store: Store, console: Path, agent: int) -> list[str]:
    return [
        *("-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35"),
        *("-accel", "tcg,thread=multi,tb-size=256", "-cpu", "max", "-smp", "2", "-m", "1024"),
        *("-kernel", str(image.kernel), "-append", _CMDLINE, "-serial", f"file:{console}"),
        # Two NVMe disks would swap their names at random.
        *("-drive", f"file={image.disk},if=none,id=root,format=raw,snapshot=on"),
        *("-device", "nvme,serial=root,drive=root"),
        *("-drive", f"file={store.disk},if=none,id=store,format=raw,readonly=on"),
        *("-device", "virtio-blk-pci,drive=store", "-device", "virtio-rng-pci"),
        *("-device", "virtio-serial-pci", "-chardev", f"socket,id=agent,fd={agent}"),
        *("-device", "virtserialport,chardev=agent,name=ec.agent"),
    ]
