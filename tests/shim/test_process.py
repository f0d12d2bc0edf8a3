"""Hard limits, and a nix that misbehaves: killed whole, read no further than allowed, named for its deed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pynix_eval_shim as shim
from pynix_eval_shim import Limits, Nix, process

if TYPE_CHECKING:
    from collections.abc import Callable

# Runs for ever in any nix; what it allocates is collected.
ENDLESS = """
  let loop = n: builtins.foldl' (sum: each: sum + each) n (builtins.genList (x: x) 1000);
  in builtins.foldl' (sum: each: loop sum) 0 (builtins.genList (x: x) 100000000)
"""


def processes_with(mark: str) -> list[str]:
    """The command lines of the processes that carry ``mark`` in their arguments or their environment."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            arguments, environment = (
                (directory / "cmdline").read_bytes(),
                (directory / "environ").read_bytes(),
            )
        except OSError:
            continue
        if directory.name != str(os.getpid()) and mark.encode() in arguments + environment:
            found.append(arguments.decode("utf-8", "replace"))
    return found


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.nix
class TestNixWithinLimits:
    def test_an_endless_evaluation_is_killed(self, nix: Nix) -> None:
        mark = f"mark-{uuid.uuid4()}"
        marked = Nix(program=nix.program, options=nix.options, env={**os.environ, "SHIM_MARK": mark})
        with pytest.raises(shim.NixTimeoutError) as caught:
            shim.evaluate(ENDLESS, limits=Limits(seconds=1.0), nix=marked)
        assert "1 s" in caught.value.message
        assert caught.value.argv
        assert wait_until(lambda: not processes_with(mark)), processes_with(mark)

    def test_an_endless_build_is_killed_with_its_builder(self, private_store: Nix) -> None:
        mark = f"mark-{uuid.uuid4()}"
        expression = """{ system, mark }: derivation {
          name = "endless"; inherit system; builder = "/bin/sh";
          args = [ "-c" "while :; do :; done # ${mark}" ];
        }"""
        data = {"system": shim.probe(nix=private_store).system, "mark": mark}
        caught: list[shim.NixError] = []

        def build() -> None:
            try:
                shim.build(
                    expression, data=data, limits=Limits(seconds=5.0, memory_bytes=None), nix=private_store
                )
            except shim.NixError as error:
                caught.append(error)

        thread = threading.Thread(target=build)
        thread.start()
        started = wait_until(lambda: any("while :" in line for line in processes_with(mark)), seconds=5.0)
        thread.join()
        assert started
        assert type(caught[0]) is shim.NixTimeoutError
        assert wait_until(lambda: not processes_with(mark)), processes_with(mark)

    def test_output_is_read_up_to_its_limit(self, nix: Nix) -> None:
        with pytest.raises(shim.OutputTooLargeError, match="100000 bytes to standard output"):
            shim.evaluate("builtins.genList toString 1000000", limits=Limits(output_bytes=100_000), nix=nix)

    def test_talk_is_read_up_to_its_limit(self, nix: Nix) -> None:
        expression = (
            "builtins.foldl' (n: _: builtins.trace (toString n) (n + 1)) 0 (builtins.genList (x: x) 100000)"
        )
        with pytest.raises(shim.OutputTooLargeError, match="100000 bytes to standard error"):
            shim.evaluate(expression, limits=Limits(output_bytes=100_000), nix=nix)

    def test_limits_hold_for_each_of_many_threads(self, nix: Nix) -> None:
        results: dict[int, object] = {}

        def work(number: int) -> None:
            results[number] = shim.evaluate("n: n + 1", data=number, nix=nix)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == {number: number + 1 for number in range(6)}


@pytest.fixture
def fake(tmp_path: Path) -> Callable[[str], Nix]:
    """A program that stands in for nix: a shell script."""

    def write(script: str) -> Nix:
        for name in ("nix", "nix-instantiate"):
            path = tmp_path / name
            path.write_text(f"#!/bin/sh\n{script}\n")
            path.chmod(0o755)
        return Nix(program=str(tmp_path / "nix"))

    return write


class TestMisbehaviour:
    def test_nothing_called_nix(self) -> None:
        with pytest.raises(shim.NixMissingError, match="no-such-nix: program not found"):
            shim.evaluate("1", nix=Nix(program="no-such-nix"))

    def test_nothing_on_path(self, tmp_path: Path) -> None:
        with pytest.raises(shim.NixMissingError) as caught:
            shim.probe(nix=Nix(env={"PATH": str(tmp_path)}))
        assert caught.value.hint is not None

    def test_nix_without_nix_instantiate(self, fake: Callable[[str], Nix], tmp_path: Path) -> None:
        nix = fake("exit 0")
        (tmp_path / "nix-instantiate").unlink()
        lonely = Nix(program=nix.program, env={"PATH": str(tmp_path)})
        with pytest.raises(shim.NixMissingError, match="nix-instantiate"):
            shim.evaluate("1", nix=lonely)

    @pytest.mark.parametrize("name", ["gone", "nix", "a\0b"])
    def test_a_directory_that_is_not_there(
        self, fake: Callable[[str], Nix], tmp_path: Path, name: str
    ) -> None:
        with pytest.raises(shim.NixError, match="no such directory"):
            shim.evaluate("1", cwd=tmp_path / name, nix=fake("echo 1"))

    def test_a_program_by_a_relative_path_and_another_directory(
        self, fake: Callable[[str], Nix], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fake("echo 77")
        (tmp_path / "other").mkdir()
        monkeypatch.chdir(tmp_path)
        assert shim.evaluate("1", cwd=tmp_path / "other", nix=Nix(program="./nix")) == 77

    def test_a_lower_cap_on_memory_stays(self, fake: Callable[[str], Nix]) -> None:
        kept, lowered = 3 << 30, 2 << 30
        # The cap is set on a child that runs already: a real nix takes longer to load, a script does not.
        wait = f"for i in 1 2 3 4 5 6 7 8 9; do [ $(ulimit -v) = {kept >> 10} ] || break; sleep 0.2; done"
        nix = fake(f"{wait}; ulimit -v")
        program = (
            "import resource; from pynix_eval_shim import *; "
            f"resource.setrlimit(resource.RLIMIT_AS, ({kept}, {kept})); "
            f"nix = Nix(program={nix.program!r}); "
            f"caps = (8 << 30, {lowered}, None); "
            "print([evaluate('1', limits=Limits(memory_bytes=cap), nix=nix) for cap in caps])"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert done.stdout.strip() == str([kept >> 10, lowered >> 10, kept >> 10]), done.stderr

    def test_no_room_for_a_temporary_file(
        self, fake: Callable[[str], Nix], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        nix = fake("echo 1")
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
        for target in ({"expression": "1"}, {"installable": "path:/x#y", "data": "x" * 200_000}):
            with pytest.raises(shim.NixError) as caught:
                shim.evaluate(**target, nix=nix)
            assert "TMPDIR" in str(caught.value.hint)

    def test_a_version_that_never_ends(self, fake: Callable[[str], Nix]) -> None:
        with pytest.raises(shim.OutputTooLargeError):
            shim.probe(nix=fake("while :; do echo nix; done"))
        with pytest.raises(shim.NixMissingError, match="does not tell its version"):
            shim.probe(nix=fake(r"printf '\\377\\n'"))

    def test_the_programs_interpreter_is_missing(self, tmp_path: Path) -> None:
        for name in ("nix", "nix-instantiate"):
            (tmp_path / name).write_text("#!/no/such/interpreter\n")
            (tmp_path / name).chmod(0o755)
        with pytest.raises(shim.NixMissingError):
            shim.evaluate("1", nix=Nix(program=str(tmp_path / "nix")))

    def test_killed_by_the_system(self, fake: Callable[[str], Nix]) -> None:
        with pytest.raises(shim.OutOfMemoryError, match="SIGKILL"):
            shim.evaluate("1", nix=fake("kill -KILL $$"))

    def test_a_crash_is_named(self, fake: Callable[[str], Nix]) -> None:
        with pytest.raises(shim.NixError, match="killed by SIGSEGV: last words"):
            shim.evaluate("1", nix=fake("echo last words >&2; kill -SEGV $$"))

    def test_what_crashes_in_its_garbage_collector_does_without(self, fake: Callable[[str], Nix]) -> None:
        program = 'test -n "$GC_DONT_GC" || { echo a trace >&2; kill -SEGV $$; }; '
        assert shim.evaluate("1", nix=fake(program + "cat >/dev/null; echo 7")) == 7
        slow = "sleep 1; " + program + "exec sleep 60"
        with pytest.raises(shim.NixTimeoutError, match=r"after 1\.5 s"):
            shim.evaluate("1", nix=fake(slow), limits=shim.Limits(seconds=1.5))

    def test_a_silent_failure(self, fake: Callable[[str], Nix]) -> None:
        with pytest.raises(shim.NixError, match="exit status 7"):
            shim.evaluate("1", nix=fake("exit 7"))

    def test_partial_output_of_a_failure_is_not_a_value(self, fake: Callable[[str], Nix]) -> None:
        with pytest.raises(shim.NixError, match="broke"):
            shim.evaluate("1", nix=fake("printf 1; echo 'error: broke' >&2; exit 1"))

    def test_sigterm_is_not_enough(self, fake: Callable[[str], Nix]) -> None:
        nix = fake("trap '' TERM; while :; do sleep 1; done")
        began = time.monotonic()
        with pytest.raises(shim.NixTimeoutError):
            process.run_nix([nix.find("nix")], limits=Limits(seconds=0.5), ask_seconds=0.5)
        assert time.monotonic() - began < 30

    def test_what_it_leaves_behind_does_not_hold_the_call(self, fake: Callable[[str], Nix]) -> None:
        mark = f"mark-{uuid.uuid4()}"
        nix = fake(f"sh -c 'while :; do sleep 1; done # {mark}' & echo 5")
        assert shim.evaluate("1", limits=Limits(seconds=60.0), nix=nix) == 5
        assert wait_until(lambda: not processes_with(mark))

    @pytest.mark.parametrize("diagnostics", [">/dev/null 2>&1", "", ">&2"])
    def test_what_it_leaves_behind_is_ended(self, fake: Callable[[str], Nix], diagnostics: str) -> None:
        mark = f"mark-{uuid.uuid4()}"
        nix = fake(f"sh -c 'while :; do echo 1; sleep 0.05; done # {mark}' {diagnostics} </dev/null & exit 3")
        began = time.monotonic()
        with pytest.raises(shim.NixError, match="exit status 3"):
            shim.evaluate("1", limits=Limits(seconds=60.0), nix=nix)
        assert time.monotonic() - began < 50
        assert wait_until(lambda: not processes_with(mark))

    def test_a_line_that_is_not_utf8(self, fake: Callable[[str], Nix]) -> None:
        with pytest.raises(shim.NixError, match="bad \ufffd byte"):
            shim.evaluate("1", nix=fake(r"printf 'error: bad \377 byte\n' >&2; exit 1"))
