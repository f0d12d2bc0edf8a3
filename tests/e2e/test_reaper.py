"""A run of the tests that is killed in the middle leaves no process, no namespace and no mount."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import reaper
from support.guests import argv_of, is_alive, require_qemu, wait_until
from support.machine_image import find_image
from support.needs import require_root, require_tool
from support.nested import build_environment, short_directory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HELD = Path(__file__).with_name("held_open.py")

# Starts a process in a session of its own, whose parent has ended, and then notes that it runs.
COMMAND = """
import subprocess, sys, time
start = (
    "import subprocess\\n"
    "child = subprocess.Popen(['sleep', '3600'], stdout=subprocess.DEVNULL, start_new_session=True)\\n"
    "print(child.pid)\\n"
)
print(subprocess.run([sys.executable, "-c", start], stdout=subprocess.PIPE, text=True).stdout, flush=True)
time.sleep(3600)
"""


@dataclass(frozen=True)
class Held:
    """A run of tests that hold all that they make; ``below``: its processes, by number and start."""

    process: subprocess.Popen[bytes]
    below: frozenset[tuple[int, str]]

    @property
    def reaper(self) -> int:
        (child,) = reaper.find_children(self.process.pid)
        return child

    @property
    def pytest(self) -> int:
        (child,) = reaper.find_children(self.reaper)
        return child

    def find(self, word: str) -> list[int]:
        """The processes with a word in their argv."""
        return sorted(pid for pid, _ in self.below if any(word in each for each in argv_of(pid)))

    def find_left(self, pids: frozenset[tuple[int, str]] | None = None) -> list[str]:
        """Those of its processes that are still there."""
        return [
            f"{pid} {argv_of(pid)}"
            for pid, start in (self.below if pids is None else pids)
            if find_start(pid) == start and is_alive(pid)
        ]


@pytest.fixture
def directory() -> Iterator[Path]:
    with short_directory() as made:
        yield made


@contextlib.contextmanager
def hold(directory: Path, *names: str) -> Iterator[Held]:
    """A pytest, with a worker for each of these tests, once they hold what they make."""
    notes = directory / "held"
    notes.mkdir()
    env = build_environment(directory)
    env.pop(reaper.MARK, None)
    argv = [sys.executable, "-m", "pytest", "-n", str(len(names)), "-p", "no:cacheprovider"]
    with (directory / "output").open("wb") as output:
        process = subprocess.Popen(
            [*argv, *(f"{HELD}::test_{name}" for name in names)],
            env={**env, "EC_HELD": str(notes)},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        wait_until(
            lambda: len(list(notes.iterdir())) == len(names) or process.poll() is not None,
            f"{names} hold what they make",
            seconds=300,
        )
        assert process.poll() is None, (directory / "output").read_text()
        yield Held(process, find_below(process.pid))
    finally:
        process.kill()
        process.wait()


def find_below(pid: int) -> frozenset[tuple[int, str]]:
    return frozenset((each, find_start(each)) for each in reaper.find_descendants(pid))


def find_start(pid: int) -> str:
    """When a process started, which tells it from a later one of its number (proc(5): starttime)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (FileNotFoundError, ProcessLookupError):
        return "gone"


def find_namespaces() -> set[str]:
    """The namespaces that some process is in."""
    return read_namespaces(int(directory.name) for directory in Path("/proc").glob("[0-9]*"))


def read_namespaces(pids: Iterable[int]) -> set[str]:
    """The namespaces of these processes, but of those that have ended."""
    found = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            found |= {str(link.readlink()) for link in Path(f"/proc/{pid}/ns").iterdir()}
    return found


def read_mounts(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/mounts").read_text().splitlines()


def find_links() -> set[str]:
    links = subprocess.run(["ip", "-json", "link"], capture_output=True, check=True)
    return {link["ifname"] for link in json.loads(links.stdout)}


@pytest.mark.qemu
@pytest.mark.netns
@pytest.mark.parametrize("killed", ["pytest", "group"])
def test_guests_networks_containers_and_mounts_end_with_a_run_that_is_killed(
    directory: Path, killed: str
) -> None:
    require_root("makes namespaces and mounts")
    require_qemu()
    find_image()
    before = find_links()
    with hold(directory, "guest", "mount", "container") as held:
        assert held.find("qemu-system")
        assert held.find("dnsmasq")
        inside = Path(f"/proc/{held.pytest}/root/run")
        namespaces = {path.name for path in (inside / "netns").iterdir()}
        containers = {path.name for path in (inside / "systemd/nspawn/propagate").iterdir()}
        (mount,) = [line for line in read_mounts(held.pytest) if line.startswith("hanging ")]
        assert (len(namespaces), len(containers)) == (2, 1)
        own = find_namespaces_of(held)
        assert {each.partition(":")[0] for each in own} >= {"mnt", "net", "pid"}
        if killed == "group":
            os.killpg(held.process.pid, signal.SIGKILL)
        else:
            os.kill(held.pytest, signal.SIGKILL)
        assert held.process.wait(60) == (-signal.SIGKILL if killed == "group" else 128 + signal.SIGKILL)
        wait_until(lambda: not held.find_left(), "all processes have ended")
        wait_until(lambda: not own & find_namespaces(), "nobody is in their namespaces")
        assert not namespaces & {path.name for path in Path("/run/netns").glob("*")}
        assert not containers & {path.name for path in Path("/run/systemd/nspawn/propagate").glob("*")}
        assert mount not in read_mounts(os.getpid())
        wait_until(lambda: find_links() <= before, "no link is left")


def find_namespaces_of(held: Held) -> set[str]:
    """The namespaces that its processes are in, and this one is not."""
    return read_namespaces(pid for pid, _ in held.below) - read_namespaces([os.getpid()])


@pytest.mark.parametrize("killed", ["first", "reaper", "pytest", "interrupted"])
def test_a_server_ends_with_a_run_that_is_killed(directory: Path, killed: str) -> None:
    with hold(directory, "server") as held:
        assert held.find("netboot")
        if killed == "interrupted":
            # As a terminal does it. Only the first process is in its group.
            os.killpg(held.process.pid, signal.SIGINT)
        else:
            victim = held.process.pid if killed == "first" else getattr(held, killed)
            os.kill(victim, signal.SIGKILL)
        statuses = {"first": -9, "reaper": 137, "pytest": 137, "interrupted": 2}
        assert held.process.wait(60) == statuses[killed]
        wait_until(lambda: not held.find_left(), "all processes have ended")


def test_what_a_killed_worker_has_started_ends_while_the_run_goes_on(directory: Path) -> None:
    with hold(directory, "server", "sleep") as held:
        (server,) = held.find("netboot")
        worker = int(Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()[1])
        below = find_below(worker)
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: not held.find_left(below), "what it had started has ended")
        assert held.find("sleep")
        assert held.process.poll() is None


@pytest.mark.parametrize("killed", ["first", "reaper", "command"])
def test_without_namespaces_orphans_end_too(killed: str) -> None:
    """As a user who can make none: where this is root, it gives that right up."""
    wrapper = []
    if os.geteuid() == 0:
        require_tool("setpriv", "install util-linux")
        wrapper = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]
    argv = [*wrapper, sys.executable, reaper.__file__, sys.executable, "-c", COMMAND]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        orphan = int(process.stdout.readline())
        (own,) = reaper.find_children(process.pid)
        (command,) = [pid for pid in reaper.find_children(own) if pid != orphan]
        os.kill({"first": process.pid, "reaper": own, "command": command}[killed], signal.SIGKILL)
        process.wait(60)
        wait_until(lambda: not is_alive(command) and not is_alive(orphan), "command and orphan have ended")


@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 3", 3), ("kill -9 $$", 128 + signal.SIGKILL), ("trap 'exit 5' TERM; kill -TERM 0", 5)],
)
def test_the_commands_status_is_handed_on(script: str, status: int) -> None:
    argv = [sys.executable, reaper.__file__, "sh", "-c", script]
    assert subprocess.run(argv, check=False, timeout=60).returncode == status


def test_a_command_that_is_not_there_is_told(tmp_path: Path) -> None:
    argv = [sys.executable, reaper.__file__, str(tmp_path / "nothing")]
    done = subprocess.run(argv, check=False, timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (127, f"{tmp_path / 'nothing'}: No such file or directory\n")


def test_a_signal_to_the_group_reaches_the_command_once() -> None:
    source = (
        "import signal\n"
        "signal.signal(signal.SIGINT, lambda *_: print('interrupted', flush=True))\n"
        "print('ready', flush=True)\n"
        "input()\n"
    )
    argv = [sys.executable, reaper.__file__, sys.executable, "-c", source]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(argv, **pipes, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout.readline() == "interrupted\n"
        assert process.communicate("\n", timeout=60) == ("", None)
        assert process.returncode == 0
