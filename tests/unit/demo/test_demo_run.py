"""One run of the demo, with a runner and a clock that are fakes: what is started, drawn, told, and left."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import stat
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ectools.demo import run as run_module
from ectools.demo import run_directory
from ectools.demo.run import DemoError, DemoOutcome, run_demo
from ectools.demo.stages import DemoStage
from ectools.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

SERVED = [
    {"event": "boot HTTP server is ready", "port": 8080},
    {"event": "the guest runs", "accelerator": "tcg"},
    *(
        {"event": "request", "method": "GET", "path": path, "status": 200}
        for path in ("/netboot.ipxe", "/kernel", "/initrd")
    ),
]
LINUX = {"event": "console", "line": "Linux version 6.1.0"}
UP = {"event": "console", "line": "EC-GUEST-UP {mark} eth0=10.0.2.15"}
SECONDS = 0.05
"""A turn of the demo: the runner says one line in it."""


class Runner:
    """The runner's process: a line of its log a turn, and its end, by itself after the last line or by us."""

    pid = 4711

    def __init__(self) -> None:
        self.says: list[dict[str, Any] | str] = [*SERVED, LINUX, UP]
        self.ends: int | None = None
        self.ends_as_it_speaks = False
        self.returncode: int | None = None
        self.stopped_with = 0
        self.argv: list[str] = []
        self.end_with_parent: bool | None = None
        self.asked_to_stop = 0
        self.seen: dict[str, Any] = {}
        self._log = Path()

    def launch(self, argv: list[str], *, stdout: Any, stderr: Any, end_with_parent: bool) -> Runner:
        assert stdout is stderr
        self.argv, self.end_with_parent, self._log = argv, end_with_parent, Path(stdout.name)
        settings = json.loads(Path(argv[-1]).read_text())
        root = Path(settings["boot"]["http"]["root"])
        script = (root / "netboot.ipxe").read_text()
        self.seen = {"settings": settings, "files": {path.name for path in root.iterdir()}, "script": script}
        return self

    def turn(self) -> None:
        text = ""
        if self.says:
            said = self.says.pop(0)
            text = said if isinstance(said, str) else json.dumps(said) + "\n"
            (mark,) = re.findall(r"ec\.mark=([0-9a-f]{16})", self.seen["script"])
            with self._log.open("a") as stream:
                stream.write(text.replace("{mark}", mark))
        if self.ends is not None and not (self.says or (text and not self.ends_as_it_speaks)):
            self.returncode = self.ends

    def poll(self) -> int | None:
        return self.returncode

    def terminate(self) -> None:
        self.asked_to_stop += 1
        self.returncode = self.stopped_with

    def wait(self, _seconds: float | None = None) -> int:
        assert self.returncode is not None
        return self.returncode


class Clock:
    """``time``, in which a sleep is a turn of the runner."""

    def __init__(self, turn: Callable[[], None]) -> None:
        self._now = 100.0
        self._turn = turn

    def monotonic(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        assert seconds == SECONDS
        self._now += seconds
        self._turn()


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Runner:
    """Of a user who is not root; directories are made in ``tmp_path / "t"``."""
    fake = Runner()
    (tmp_path / "t").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "t"))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    # A lock is a file of the user's who is said to be this one.
    monkeypatch.setattr(run_directory, "hold_lock", lambda path, **_options: nullcontext(path.touch()))
    monkeypatch.setattr(run_module, "launch", fake.launch)
    monkeypatch.setattr(run_module, "time", Clock(fake.turn))
    return fake


@pytest.fixture
def payload(tmp_path: Path) -> Path:
    directory = tmp_path / "payload"
    directory.mkdir()
    for name in ("kernel", "initrd"):
        (directory / name).write_text(name)
    return directory


def fail(payload: Path, *, timeout: float = 60) -> tuple[DemoError, str]:
    """The error, and what was drawn before."""
    stream = io.StringIO()
    with pytest.raises(DemoError) as caught:
        run_demo(payload=payload, keep=False, timeout=timeout, stderr=stream)
    return caught.value, stream.getvalue()


def test_a_guest_that_comes_up_is_stopped_and_nothing_is_left(
    runner: Runner, payload: Path, tmp_path: Path
) -> None:
    stream = io.StringIO()
    outcome = run_demo(payload=payload, keep=False, timeout=60, stderr=stream)
    # A line a turn.
    times = {stage.name.lower(): round(SECONDS * at, 3) for at, stage in enumerate(DemoStage, start=1)}
    assert outcome == DemoOutcome(stages=times, directory=None, pid=None)
    assert (runner.asked_to_stop, runner.end_with_parent) == (1, True)
    assert list((tmp_path / "t").iterdir()) == []
    drawn = stream.getvalue()
    assert all(f"✓ {stage}" in drawn for stage in DemoStage)
    sections = re.findall(r"^(\w[\w ]*): ", drawn, re.MULTILINE)
    assert sections == ["host description", "NixOS module", "settings", "boot", "stop"]


def test_the_runner_gets_what_the_description_says(runner: Runner, payload: Path, tmp_path: Path) -> None:
    run_demo(payload=payload, keep=False, timeout=60, stderr=io.StringIO())
    assert runner.argv[1:-1] == ["-m", "ectools.cli.main", "vm", "run", "--config"]
    settings = runner.seen["settings"]
    directory = Path(settings["stateDir"]).parent
    assert directory.parent == tmp_path / "t"
    assert settings["boot"]["http"] == {"port": 0, "root": str(directory / "root")}
    assert (settings["name"], settings["memoryMiB"]) == ("ectools-demo", 512)
    assert "enable" not in settings
    assert runner.seen["files"] == {"kernel", "initrd", "netboot.ipxe"}


def test_a_guest_that_is_kept_runs_on(runner: Runner, payload: Path) -> None:
    outcome = run_demo(payload=payload, keep=True, timeout=60, stderr=io.StringIO())
    assert (outcome.pid, runner.asked_to_stop, runner.end_with_parent) == (4711, 0, False)
    assert outcome.directory is not None
    assert {path.name for path in outcome.directory.iterdir()} == {
        "root",
        "runner.log",
        "settings.json",
        "state",
    }


def test_a_payload_is_made_where_none_is_given(
    runner: Runner, payload: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ectools.demo.payload import Payload

    monkeypatch.setattr(run_module, "build_payload", lambda: Payload.load(payload))
    stream = io.StringIO()
    run_demo(payload=None, keep=False, timeout=60, stderr=stream)
    assert stream.getvalue().startswith("payload: a kernel and an initramfs from the distribution's packages")


def test_a_directory_that_is_no_payload_starts_nothing(runner: Runner, payload: Path, tmp_path: Path) -> None:
    (payload / "initrd").unlink()
    with pytest.raises(InputError, match="initrd: no such file"):
        run_demo(payload=payload, keep=False, timeout=60, stderr=io.StringIO())
    assert runner.argv == []
    assert list((tmp_path / "t").iterdir()) == []


def test_a_runner_that_ends_is_told_with_its_last_words(
    runner: Runner, payload: Path, tmp_path: Path
) -> None:
    runner.says = [
        SERVED[0],
        {"event": "started"},
        {"event": "console", "line": "No bootable device."},
        {"level": "error", "event": "the guest ended", "reason": "no disk"},
        "Traceback: oops\n",
    ]
    runner.ends = 3
    error, drawn = fail(payload)
    assert error.message.splitlines() == [
        "the guest did not come up: the runner ended: exit status 3",
        '  {"event": "boot HTTP server is ready", "port": 8080}',
        "  started",
        "  No bootable device.",
        '  {"level": "error", "event": "the guest ended", "reason": "no disk"}',
        "  Traceback: oops",
    ]
    assert "! the guest ended: no disk" in drawn
    assert f"✗ {DemoStage.QEMU}" in drawn
    assert list((tmp_path / "t").iterdir()) == []


def test_of_a_long_log_the_end_is_told(runner: Runner, payload: Path) -> None:
    runner.says = [{"event": f"line {number}"} for number in range(20)]
    runner.ends = -signal.SIGKILL
    error, _ = fail(payload)
    first, *lines = error.message.splitlines()
    assert first == "the guest did not come up: the runner ended: killed by SIGKILL"
    assert lines == [f"  line {number}" for number in range(5, 20)]


def test_a_guest_that_takes_too_long_is_stopped(runner: Runner, payload: Path, tmp_path: Path) -> None:
    runner.says = [*SERVED, {"event": "console", "line": "EC-GUEST-UP 0123456789abcdef"}]
    error, drawn = fail(payload, timeout=2)
    assert error.message.startswith("the guest did not come up: 2 s went by\n")
    assert runner.asked_to_stop == 1
    # Another guest's mark is not this one's.
    assert f"✗ {DemoStage.LINUX}" in drawn
    assert list((tmp_path / "t").iterdir()) == []


def test_a_line_is_read_when_it_is_whole(runner: Runner, payload: Path) -> None:
    runner.says = [*SERVED, LINUX, '{"event": "console", "line": "EC-GUEST', '-UP {mark}"', "}\n"]
    outcome = run_demo(payload=payload, keep=False, timeout=60, stderr=io.StringIO())
    assert outcome.stages["up"] == round(SECONDS * 9, 3)


def test_what_is_said_before_the_end_counts(runner: Runner, payload: Path) -> None:
    runner.ends, runner.ends_as_it_speaks = 0, True
    outcome = run_demo(payload=payload, keep=False, timeout=60, stderr=io.StringIO())
    assert "up" in outcome.stages
    assert runner.asked_to_stop == 0


@pytest.mark.parametrize(
    ("status", "words"),
    [(0, None), (-signal.SIGTERM, None), (1, "exit status 1"), (-signal.SIGKILL, "killed by SIGKILL")],
)
def test_a_runner_that_does_not_stop_well(
    runner: Runner, payload: Path, tmp_path: Path, status: int, words: str | None
) -> None:
    runner.stopped_with = status
    if words is None:
        run_demo(payload=payload, keep=False, timeout=60, stderr=io.StringIO())
    else:
        error, _ = fail(payload)
        assert error.message == f"the guest came up, but the runner did not stop well: {words}"
    assert list((tmp_path / "t").iterdir()) == []


@pytest.mark.parametrize(("mode", "chosen"), [(0o711, "t"), (0o700, "open")])
def test_root_works_where_the_guests_user_gets_to(
    runner: Runner,
    payload: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    mode: int,
    chosen: str,
) -> None:
    # pytest's directories are its user's alone; what lies above them is none of this test's.
    above = set(tmp_path.parents)
    real = Path.stat

    def look(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        found = real(path, follow_symlinks=follow_symlinks)
        mode = found.st_mode | stat.S_IXOTH if path in above or path == tmp_path else found.st_mode
        return os.stat_result((mode, *found[1:]))

    monkeypatch.setattr(Path, "stat", look)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(run_module, "open_to_guest", lambda *_paths, **_more: None)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o755)
    monkeypatch.setattr(run_module, "_OPEN_PLACES", (str(tmp_path / "none"), str(tmp_path / "open")))
    (tmp_path / "t").chmod(mode)
    run_demo(payload=payload, keep=False, timeout=60, stderr=io.StringIO())
    assert Path(runner.argv[-1]).parent.parent == tmp_path / chosen
