"""VM tests that are built by somebody else: a nix daemon, and a remote builder with a feature of its own."""

from __future__ import annotations

import os
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.needs import give_up, require_tool
from support.vmtests import assert_no_builder, find_builders, make_source, wait_until

from ectools.checks.vmtest import Source, VmTest, find_tests, make_nix, probe_nix
from ectools.checks.vmtest_run import Listener, Schedule, Verdict, VmTestOutcome, run_tests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pynix_eval_shim import Nix

pytestmark = pytest.mark.nix

CONFIG = "experimental-features = nix-command flakes\nsubstituters =\nbuild-users-group =\nsandbox = false\n"


def run(
    source: Source, names: list[str], *, seconds: float, react: Callable[[], None] = lambda: None
) -> list[VmTestOutcome]:
    def line(test: VmTest, *_: object) -> None:
        react()

    probe = probe_nix(source)
    return run_tests(
        find_tests(source, probe, names),
        schedule=Schedule(jobs=2, memory_mib=100_000, seconds=seconds),
        listener=Listener(on_line=line, on_complete=lambda outcome: None),
        nix=make_nix(source),
        probe=probe,
    )


@contextmanager
def start_daemon(nix: Nix, directory: Path) -> Iterator[Nix]:
    """A daemon with a store of its own, and the nix that speaks to it."""
    env = {
        **os.environ,
        "NIX_CONFIG": CONFIG,
        "NIX_STORE_DIR": f"{directory}/store",
        "NIX_STATE_DIR": f"{directory}/state",
        "NIX_LOG_DIR": f"{directory}/log",
        "NIX_DAEMON_SOCKET_PATH": f"{directory}/socket",
    }
    argv = [nix.find("nix"), "daemon", "--extra-experimental-features", "nix-command"]
    with subprocess.Popen(argv, env=env, stderr=subprocess.DEVNULL) as daemon:
        try:
            wait_until((directory / "socket").exists)
            yield replace(nix, env={**env, "NIX_REMOTE": "daemon"}, store=None)
        finally:
            daemon.terminate()


def test_the_builders_of_a_daemon_are_followed_and_killed(any_nix: Nix, tmp_path: Path) -> None:
    seen: list[bool] = []
    with start_daemon(any_nix, tmp_path) as nix:
        source = make_source(tmp_path, nix)
        (passed,) = run(source, ["passes"], seconds=300.0)
        assert passed.verdict is Verdict.PASSED
        assert [step.name for step in passed.steps] == ["boots", "serves", "nested"]
        (late,) = run(
            source, ["hangs"], seconds=1.0, react=lambda: seen.append(bool(find_builders(tmp_path)))
        )
        assert late.verdict is Verdict.TIMED_OUT
        assert any(seen), "the builder was not to be seen"
        assert_no_builder(tmp_path)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory of a short name: nix names a lock by the builder's whole address, in at most 255 bytes."""
    with tempfile.TemporaryDirectory(prefix="ec", dir="/tmp") as name:
        yield Path(name)


def test_a_remote_builder_has_what_this_machine_lacks(any_nix: Nix, short_path: Path) -> None:
    if os.geteuid() != 0:
        give_up("a remote builder within this machine takes root: it builds in a chroot")
    shell = require_tool("busybox", "install a static busybox (Debian: busybox-static)")
    # The chroot has nothing of this machine's: its shell must need no library.
    config = f"{CONFIG}sandbox-paths = /bin/sh={shell}\n"
    store = f"local?store={short_path}/store&state={short_path}/state&log={short_path}/log"
    nix = replace(any_nix, store=store, env={**os.environ, "NIX_CONFIG": config})
    here = make_source(short_path, nix)
    (skipped,) = run(here, ["needs-feature"], seconds=300.0)
    assert skipped.verdict is Verdict.SKIPPED

    features = ("nixos-test", "a-feature-of-no-machine")
    far = (
        f"local?root={short_path}/far&store={short_path}/store&state={short_path}/far-state&real={short_path}/far-real"
        f"&system-features={'%20'.join(features)}"
    )
    system = probe_nix(here).system
    (passed,) = run(
        replace(here, builders=f"{far} {system} - 1 1 {','.join(features)}"), ["needs-feature"], seconds=300.0
    )
    assert passed.verdict is Verdict.PASSED, passed.reason
    assert f"{short_path}/far" in passed.machine
