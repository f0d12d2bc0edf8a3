"""Coverage-guided fuzzing for a bounded time (atheris, libFuzzer's Python).

A target is a function of this test suite that takes bytes, named ``module:function``; what it raises is a
finding. It runs in a process of its own, because libFuzzer ends the one that it is in. Run by hand, from the
directory ``tests``, for as long as one likes: ``python -m support.fuzzing MODULE:FUNCTION PACKAGE,… --
CORPUS``, with libFuzzer's own options after the dashes.
"""

from __future__ import annotations

import importlib
import importlib.util
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.needs import give_up

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

TESTS = Path(__file__).resolve().parent.parent
MAX_BYTES = 4096
_RUNS = re.compile(r"stat::number_of_executed_units:\s+(\d+)")


def fuzz(
    target: str,
    *,
    packages: Sequence[str],
    seeds: Iterable[bytes],
    directory: Path,
    seconds: int = 20,
    least_runs: int = 1000,
    words: Iterable[bytes] = (),
) -> None:
    """Feed ``target`` for ``seconds``, guided by the coverage of ``packages``; fail with what breaks it.

    ``seeds`` are good inputs to begin with, ``words`` what inputs are made of; ``directory`` takes corpus and
    findings. Fewer than ``least_runs`` fail too: it did not do its work then.
    """
    if platform.machine() != "x86_64":
        pytest.skip("NO ATHERIS FOR THIS MACHINE: it is built for x86-64 alone")
    if importlib.util.find_spec("atheris") is None:
        give_up("atheris is not installed (pip install atheris)")
    corpus = directory / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    argv = [sys.executable, "-m", "support.fuzzing", target, ",".join(packages), "--"]
    options = [f"-max_total_time={seconds}", f"-max_len={MAX_BYTES}", "-timeout=10", "-rss_limit_mb=2048"]
    options += ["-print_final_stats=1", "-close_fd_mask=1", f"-artifact_prefix={directory}/"]
    if lines := [f'"{_escape(word)}"\n' for word in words]:
        (directory / "words").write_text("".join(lines))
        options.append(f"-dict={directory / 'words'}")
    done = subprocess.run(
        [*argv, *options, str(corpus)],
        cwd=TESTS,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=seconds + 300,
    )
    findings = [
        f"{path.name}: {path.read_bytes()[:400]!r}"
        for kind in ("crash", "timeout", "oom", "leak")
        for path in sorted(directory.glob(f"{kind}-*"))
    ]
    report = done.stderr[-6000:]
    if done.returncode != 0 or findings:
        pytest.fail("\n".join([f"{target} broke", *findings, report]), pytrace=False)
    runs = _RUNS.search(done.stderr)
    assert runs is not None, report
    assert int(runs[1]) >= least_runs, f"{target}: {runs[1]} runs in {seconds} s"


def _escape(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def main(arguments: Sequence[str]) -> None:
    """Fuzz in this process, which does not return."""
    import atheris

    target, packages, dashes, *options = arguments
    assert dashes == "--"
    module, _, function = target.partition(":")
    with atheris.instrument_imports(include=packages.split(",")):
        test = getattr(importlib.import_module(module), function)
    atheris.Setup([target, *options], test)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
