"""The guest runner as a process, and what its guests boot."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.diagnostics import show_errors
from support.needs import give_up, require_root, require_tool

from ectools.demo.payload import UP_MARK, Flavour, PayloadError, build_payload, stage_payload
from ectools.errors import EcError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

BOOT_SECONDS = 240
"""A boot takes 10 to 20 s on a quiet machine; this one emulates, and may be loaded."""

_LAST_WORDS = {"time", "level", "event", "hint", "problems"}

RUNNER = [sys.executable, "-c", "import sys; from ectools.cli.vm import main; sys.exit(main())"]


def require_qemu() -> None:
    require_tool("qemu-system-x86_64", "install QEMU (Debian: qemu-system-x86)")
    require_tool("qemu-img", "install QEMU's tools (Debian: qemu-utils)")


def stage(root: Path, *, cmdline: str = "", flavour: Flavour = Flavour.CLOUD) -> Path:
    """A boot server's root with a payload; ends the test where none can be made here."""
    try:
        payload = build_payload(flavour)
    except PayloadError as error:
        give_up(error.render())
    except EcError as error:
        give_up(f"no payload: {error.render()}")
    stage_payload(payload, root, cmdline=cmdline)
    return root


def empty_root(root: Path) -> Path:
    """A boot server's root for guests that are ended before they ask for anything."""
    root.mkdir(parents=True)
    (root / "netboot.ipxe").write_text("#!ipxe\nshell\n")
    return root


def settings_for(state: Path, root: Path | None, **more: Any) -> dict[str, Any]:
    """Settings of a small emulated guest; ``more`` replaces whole fields of the first level."""
    boot = {
        "http": {"enable": root is not None, "root": None if root is None else str(root), "port": 0},
        "userNet": {"model": "virtio-net-pci"},
    }
    if root is None:
        boot["chainUrl"] = "http://10.0.2.2:9/nothing"
    defaults = {
        "stateDir": str(state),
        "memoryMiB": 256,
        "vcpus": 1,
        "enableKvm": False,
        "disk": {"size": "64M"},
        "boot": boot,
        "shutdown": {"powerdownSeconds": 60, "quitSeconds": 30, "terminateSeconds": 30},
    }
    return {**defaults, **more}


@dataclass
class Runner:
    """A started runner; ``entries`` are the lines of its log, which a thread reads as they come."""

    process: subprocess.Popen[bytes]
    entries: list[dict[str, Any]] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    """The error that it ends with, as a person reads it, and lines that are no JSON."""
    lines: list[str] = field(default_factory=list)
    _more: threading.Condition = field(default_factory=threading.Condition)
    _ended: bool = False

    def read(self) -> None:
        assert self.process.stderr is not None
        for raw in self.process.stderr:
            line = raw.decode("utf-8", "replace").rstrip("\n")
            with self._more:
                self.lines.append(line)
                try:
                    self.entries.append(json.loads(line))
                except ValueError:
                    self.text.append(line)
                else:
                    if self.entries[-1].keys() <= _LAST_WORDS and self.entries[-1]["level"] == "error":
                        self.text += show_errors(line).splitlines()
                self._more.notify_all()
        with self._more:
            self._ended = True
            self._more.notify_all()

    def wait_for(
        self, matches: Callable[[dict[str, Any]], bool], what: str, *, seconds: float = BOOT_SECONDS
    ) -> dict[str, Any]:
        """The first entry, past or to come, that matches."""
        deadline = time.monotonic() + seconds
        seen = 0
        with self._more:
            while True:
                for entry in self.entries[seen:]:
                    if matches(entry):
                        return entry
                seen = len(self.entries)
                left = deadline - time.monotonic()
                assert not self._ended, f"the runner ended before {what}:\n{self.report()}"
                assert left > 0, f"no {what} within {seconds} s:\n{self.report()}"
                self._more.wait(left)

    def wait_event(self, event: str, **fields: Any) -> dict[str, Any]:
        """The first entry of an event with these fields."""
        return self.wait_for(
            lambda entry: entry["event"] == event and fields.items() <= entry.items(), f"{event} {fields}"
        )

    def wait_console(self, text: str) -> dict[str, Any]:
        return self.wait_for(
            lambda entry: entry["event"] == "console" and text in entry["line"], f"{text!r} on the console"
        )

    def wait_up(self, mark: str) -> dict[str, Any]:
        """Until the guest with ``ec.mark=MARK`` says that it is up."""
        return self.wait_console(f"{UP_MARK} {mark}")

    def wait_guest_pid(self) -> int:
        """QEMU's process, once its guest runs."""
        self.wait_event("the guest runs")
        return int([entry for entry in self.entries if entry["event"] == "QEMU started"][-1]["pid"])

    def events(self, event: str) -> list[dict[str, Any]]:
        return [entry for entry in self.entries if entry["event"] == event]

    def requests(self) -> list[str]:
        """The paths that were asked of the boot HTTP server."""
        return [entry["path"] for entry in self.events("request")]

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float = BOOT_SECONDS) -> int:
        """The exit status, once all of the log is in."""
        deadline = time.monotonic() + seconds
        with self._more:
            while not self._ended:
                left = deadline - time.monotonic()
                assert left > 0, f"the runner still runs after {seconds} s:\n{self.report()}"
                self._more.wait(left)
        return self.process.wait(60)

    def report(self) -> str:
        """Its log's last lines, for a failure."""
        return "\n".join(self.lines[-60:])


@contextlib.contextmanager
def start_runner(
    settings: Mapping[str, Any],
    directory: Path,
    *,
    wrapper: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    kill_at_end: bool = True,
    kept_as_it_is: bool = False,
) -> Iterator[Runner]:
    """A runner for the length of the block. Its settings go to ``directory``, ``wrapper`` before its argv.

    The guest's directories are made nobody's where they would be root's, unless they are to be kept.
    """
    require_qemu()
    if not kept_as_it_is:
        open_to_guest(settings, directory)
    config = directory / f"settings-{len(list(directory.iterdir()))}.json"
    config.write_text(json.dumps(settings))
    process = subprocess.Popen(
        [*wrapper, *RUNNER, "--config", str(config)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, **(env or {})},
        start_new_session=True,
    )
    runner = Runner(process)
    thread = threading.Thread(target=runner.read, daemon=True)
    thread.start()
    try:
        yield runner
    finally:
        # Its children die with it: that is one of the things tested.
        if process.poll() is None and kill_at_end:
            process.kill()
        process.wait()
        thread.join(30)
        assert process.stderr is not None
        process.stderr.close()


def run_to_end(settings: Mapping[str, Any], directory: Path, **more: Any) -> tuple[int, Runner]:
    """A runner that ends by itself: its status, and what it said."""
    with start_runner(settings, directory, **more) as runner:
        return runner.wait(), runner


NOBODY = 65534


def open_to_guest(settings: Mapping[str, Any], directory: Path) -> None:
    """As root: what the guest writes becomes nobody's, as whom root's runner works; ``directory`` its way in.

    A state directory that is another user's already stays so.
    """
    if os.geteuid() != 0:
        return
    state = Path(str(settings["stateDir"]))
    disk = Path(str(settings.get("disk", {}).get("path", state / "disk")))
    for path in (directory, state.parent, disk.parent, state, *state.rglob("*")):
        if os.path.lexists(path) and path.lstat().st_uid == 0 and path.is_relative_to(tempfile.gettempdir()):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    open_way(directory)


def open_way(directory: Path) -> None:
    """Let other users pass through pytest's directories."""
    for parent in (directory, *directory.parents):
        if parent.stat().st_mode & 0o005 != 0o005 and parent.is_relative_to(tempfile.gettempdir()):
            parent.chmod(0o755)


def unprivileged(directory: Path, *, capabilities: str = "") -> list[str]:
    """A wrapper that runs its command as nobody, as a unit's user: with these ambient capabilities, or none.

    ``directory`` (pytest's) is opened to nobody, with a ``state`` of its own in it. Ends the test where root
    or a Python that nobody can run is missing.
    """
    require_root("runs the runner as another user")
    require_tool("setpriv", "install util-linux")
    state = directory / "state"
    state.mkdir()
    os.chown(state, NOBODY, NOBODY)
    open_way(directory)
    wrapper = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    if capabilities:
        # The last is for an interpreter below /root, and no right in the rest of the run (limit_to_user).
        granted = f"{capabilities},+dac_read_search"
        wrapper += [f"--inh-caps={granted}", f"--ambient-caps={granted}"]
    probe = subprocess.run([*wrapper, sys.executable, "-c", "import ectools.vm.runner"], check=False)
    if probe.returncode != 0:
        give_up(f"another user cannot run {sys.executable}")
    return wrapper


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def process_status(pid: int) -> dict[str, str]:
    """``/proc/PID/status`` by field."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def argv_of(pid: int) -> list[str]:
    """The words that a process was started with; none where it has ended, at any moment of the asking."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
    except (FileNotFoundError, ProcessLookupError):
        return []


def wait_until(condition: Callable[[], bool], what: str, *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


class ServiceManager:
    """The receiving end of sd_notify(3)."""

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        path.chmod(0o777)  # as systemd's: it looks at who sends
        self.messages: list[str] = []
        self._lock = threading.Lock()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while message := self._socket.recv(4096).decode():
                with self._lock:
                    self.messages.append(message)

    def count(self, message: str) -> int:
        with self._lock:
            return self.messages.count(message)

    def statuses(self) -> list[str]:
        """What ``systemctl status`` showed, in its order."""
        with self._lock:
            return [text.removeprefix("STATUS=") for text in self.messages if text.startswith("STATUS=")]

    def close(self) -> None:
        self._socket.close()


def find_processes(word: str) -> list[str]:
    """The command lines of running processes that hold ``word``."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if entry.name.isdigit() and word in line:
            found.append(line)
    return found
