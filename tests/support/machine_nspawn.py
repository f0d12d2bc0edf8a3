"""A machine in a container: up in a second, with the kernel of this machine and a network of its own."""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import signal
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from support.machine import COMMAND_SECONDS, DIES_WITH_TESTS, Done, Machine, MachineError
from support.machine_image import Image
from support.machine_store import Store
from support.needs import give_up, require_tool

from ectools.processes import run

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
BOOT_SECONDS = 240
"""A boot takes under a second on a quiet machine."""


class NspawnMachine(Machine):
    """A container, by its process 1 as this machine numbers it; ``path``: where it has its programs."""

    def __init__(self, leader: int, console: Path, path: str = PATH) -> None:
        self.leader = leader
        self._console = console
        self._path = path

    def execute(self, argv: Sequence[str], stdin: str = "") -> Done:
        # All namespaces of the leader; the agent of the other kind gives the same environment.
        enter = ["nsenter", "--target", str(self.leader), "--all", "--", "env", "-i", "-C", "/"]
        environment = [f"PATH={self._path}", "HOME=/root", "LANG=C.UTF-8"]
        try:
            done = subprocess.run(
                [*enter, *environment, *argv],
                input=stdin,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=COMMAND_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            return Done(124, "", f"no end: {error}")
        return Done(done.returncode, done.stdout, done.stderr)

    def read_console(self) -> str:
        return self._console.read_text(errors="replace")

    @property
    def has_kernel(self) -> bool:
        return False


@contextlib.contextmanager
def boot_nspawn(
    directory: Path,
    image: Image,
    store: Store,
    *,
    read_only: Mapping[Path, str] | None = None,
    namespace: str | None = None,
    tree: Path | None = None,
) -> Iterator[NspawnMachine]:
    """A machine for the length of the block; ``read_only``: further paths here → inside.

    ``namespace``: the named network namespace whose interfaces it has; None: one of its own. ``tree``: the
    system's files, which keep what is written, in place of the image's.
    """
    places = {store.directory: "/nix", **(read_only or {})}
    arguments = [
        "--boot",
        *(() if tree else ("--volatile=overlay",)),
        *("-D", str(tree or image.tree)),
        *(f"--bind-ro={outside}:{inside}" for outside, inside in places.items()),
        "systemd.unit=multi-user.target",
    ]
    with run_container(arguments, directory / "console", namespace=namespace) as machine:
        yield machine


@contextlib.contextmanager
def run_container(
    arguments: Sequence[str],
    console: Path,
    *,
    namespace: str | None = None,
    path: str = PATH,
    states: Collection[str] = ("running", "degraded"),
) -> Iterator[NspawnMachine]:
    """systemd-nspawn with these arguments, its system in one of ``states``, for the length of the block."""
    require_tool("systemd-nspawn", "install systemd-container")
    require_tool("setpriv", "install util-linux")
    with console.open("wb") as output:
        process = subprocess.Popen(
            [
                *(*DIES_WITH_TESTS, "systemd-nspawn", "--quiet", "--register=no", "--keep-unit"),
                "--console=pipe",
                f"--network-namespace-path=/run/netns/{namespace}" if namespace else "--private-network",
                # Goes with a network of its own, but not with one that is there.
                "--capability=CAP_NET_ADMIN",
                f"--machine=ec-{secrets.token_hex(4)}",
                *arguments,
            ],
            env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    leader = None
    try:
        number = _find_leader(process, console)
        leader = os.pidfd_open(number)
        machine = NspawnMachine(number, console, path)
        _wait_running(machine, states)
        yield machine
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        # With its process 1 dies all that runs in a PID namespace; nspawn killed first would leave it behind.
        if leader is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(leader, signal.SIGKILL)
        process.kill()
        process.wait()
        if leader is not None:
            # Readable once the process is gone (pidfd_open(2)).
            gone, _, _ = select.select([leader], [], [], BOOT_SECONDS)
            os.close(leader)
            assert gone, f"the container's processes are still there:\n{console.read_text()[-2000:]}"


@contextlib.contextmanager
def keep_writes(directory: Path, image: Image) -> Iterator[Path]:
    """A tree of the image for several boots of one machine: what one writes, the next one finds."""
    memory, merged = directory / "memory", directory / "merged"
    with contextlib.ExitStack() as mounts:
        for where in (memory, merged):
            where.mkdir()
        run(["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", str(memory)])
        mounts.callback(run, ["umount", "--lazy", str(memory)])
        for name in ("upper", "work"):
            (memory / name).mkdir()
        layers = f"lowerdir={image.tree},upperdir={memory}/upper,workdir={memory}/work"
        run(["mount", "-t", "overlay", "-o", layers, "overlay", str(merged)])
        mounts.callback(run, ["umount", "--lazy", str(merged)])
        yield merged


def _find_leader(process: subprocess.Popen[bytes], console: Path) -> int:
    """The container's process 1, by its number outside."""
    deadline = time.monotonic() + BOOT_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            give_up(f"systemd-nspawn does not start here: {console.read_text(errors='replace')[-500:]}")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for child in children:
            with contextlib.suppress(OSError):
                if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                    return int(child)
        time.sleep(0.1)
    raise MachineError(f"no systemd in the container:\n{console.read_text(errors='replace')[-2000:]}")


def _wait_running(machine: NspawnMachine, states: Collection[str]) -> None:
    def is_up() -> bool:
        # Fails as long as the manager does not listen yet.
        return machine.run("systemctl", "is-system-running", check=False).strip() in states

    machine.wait(is_up, "the container is up", seconds=BOOT_SECONDS)
