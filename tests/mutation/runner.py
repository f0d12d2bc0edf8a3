"""One run of pytest in a copy of the tree: its environment, its limits, and the end of what it started."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_MARK = "MUTATION_RUN"
"""A variable in the environment of all that a run starts: children in other sessions have it too."""

_KILL_ROUNDS = 100

_MOST_BYTES = 4 << 30
"""What a process may allocate: a fault can make a loop that fills the memory."""


class StoppedError(Exception):
    """The whole run ends."""


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What became of a run."""

    status: int | None
    """Pytest's: 0 passed, 1 failed, 2 to 4 could not run, 5 no tests; below 0 a signal; None: time limit."""
    seconds: dict[str, float]
    """The time of each test that ran, by its id."""
    failed: list[str]
    """The tests, or files, that failed, the first first."""
    text: str
    """Why the first did: the end of its traceback; or the end of what pytest printed."""


class Runner:
    """Runs pytest in copies of a tree. ``work`` is an empty directory, which the caller removes."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self._plugin = work / "plugin"
        self._plugin.mkdir()
        shutil.copy2(Path(__file__).with_name("pytest_plugin.py"), self._plugin / "mutation_pytest_plugin.py")
        self._running: set[str] = set()
        self._stopped = False

    @contextlib.contextmanager
    def directory(self) -> Iterator[Path]:
        """A new directory, removed with all that is in it."""
        # A short name: the path of a UNIX socket in it may have 107 bytes.
        path = Path(tempfile.mkdtemp(dir=self.work, prefix=""))
        # Tests give up root and go on as somebody else.
        path.chmod(0o755)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def run(
        self,
        tree: Path,
        arguments: Iterable[str],
        *,
        tests: list[str] | None,
        limit: float,
        env: dict[str, str],
    ) -> Ran:
        """Run pytest in a tree; ``tests`` are the ids to run in that order, None all; ``limit`` in seconds.

        Raises:
            StoppedError: the whole run ends.
        """
        with self.directory() as home:
            environment = {**_environment(tree, self._plugin, home), **env}
            if tests is not None:
                (home / "tests").write_text("\n".join(tests))
                environment["MUTATION_TESTS"] = str(home / "tests")
            options = ["-q", "-p", "no:cacheprovider", "-p", "mutation_pytest_plugin", "--hypothesis-seed=0"]
            # Killed with this process, if that is killed itself.
            died = ["setpriv", "--pdeathsig", "KILL", "--"]
            argv = [*died, sys.executable, "-m", "pytest", *options, f"--basetemp={home}/t", *arguments]
            with (home / "out").open("w+b") as out:
                status = self._wait(argv, tree, environment, out.fileno(), limit)
                out.seek(0)
                printed = out.read().decode(errors="replace")[-4000:]
            return _read_result(home / "result", status, printed)

    def each(
        self, call: Callable[[_Item], _Result], items: Iterable[_Item], *, jobs: int
    ) -> Generator[_Result]:
        """Call something that runs pytest for each item, ``jobs`` at once; the results, as they come.

        An exception, here or at the caller's, ends every run.
        """
        with ThreadPoolExecutor(jobs) as pool:
            try:
                for future in as_completed([pool.submit(call, item) for item in items]):
                    yield future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                self.stop()
                raise

    def stop(self) -> None:
        """End every run; no other starts."""
        self._stopped = True
        for mark in list(self._running):
            _kill_marked(mark)

    def _wait(self, argv: list[str], tree: Path, env: dict[str, str], out: int, limit: float) -> int | None:
        mark = uuid.uuid4().hex
        self._running.add(mark)
        try:
            if self._stopped:
                raise StoppedError
            child = subprocess.Popen(
                argv,
                cwd=tree,
                env={**env, _MARK: mark},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
            try:
                with contextlib.suppress(ProcessLookupError):
                    resource.prlimit(child.pid, resource.RLIMIT_DATA, (_MOST_BYTES, _MOST_BYTES))
                return child.wait(limit)
            except subprocess.TimeoutExpired:
                return None
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                _kill_marked(mark)
                child.wait()
        finally:
            self._running.discard(mark)
            if self._stopped:
                raise StoppedError


def _environment(tree: Path, plugin: Path, home: Path) -> dict[str, str]:
    """This process's environment with the copy before the checkout, and with directories of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV"))}
    (home / "h").mkdir()
    return {
        **kept,
        "PYTHONPATH": f"{tree}:{plugin}",
        "HOME": f"{home}/h",
        "XDG_CACHE_HOME": f"{home}/h/.cache",
        "TMPDIR": str(home),
        "MUTATION_RESULT": f"{home}/result",
    }


def _read_result(path: Path, status: int | None, printed: str) -> Ran:
    try:
        result = json.loads(path.read_text())
    except (OSError, ValueError):
        # Pytest ended before its end: a conftest that cannot be imported, a signal, the time limit.
        result = {"seconds": {}, "failed": []}
    names = [name for name, _ in result["failed"]]
    text = result["failed"][0][1] if names else printed
    return Ran(status=status, seconds=result["seconds"], failed=names, text=text)


def _kill_marked(mark: str) -> None:
    """Kill the processes that have a run's mark in their environment, and what they start meanwhile."""
    wanted = f"{_MARK}={mark}".encode()
    for _ in range(_KILL_ROUNDS):
        found = [pid for pid in _processes() if wanted in _read_environment(pid)]
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not found:
            return


def _processes() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _read_environment(pid: int) -> list[bytes]:
    """A process's environment as it was started with; empty of one that has ended or is another user's."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []
