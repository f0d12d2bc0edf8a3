"""The flake of tests/eval/vmtests, with its settings and its pipes, and what is left of its builders."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pynix_eval_shim as shim
from ectools.checks.vmtest import Source
from pynix_eval_shim import Nix

if TYPE_CHECKING:
    from collections.abc import Callable

FLAKE = Path(__file__).parents[1] / "eval" / "vmtests" / "flake.nix"


def make_source(directory: Path, nix: Nix) -> Source:
    """A copy of the flake in ``directory``; ``left``, ``right`` and ``never`` are pipes in its ``pipes``."""
    flake, pipes = directory / "flake", directory / "pipes"
    flake.mkdir()
    pipes.mkdir()
    for name in ("left", "right", "never"):
        os.mkfifo(pipes / name)
    shutil.copyfile(FLAKE, flake / "flake.nix")
    # Where a sandbox is on, the builder cannot see the pipes.
    nix = dataclasses.replace(nix, options={**nix.options, "sandbox": "false", "builders": ""})
    settings = {"system": shim.probe(nix=nix).system, "pipes": str(pipes)}
    (flake / "settings.json").write_text(json.dumps(settings))
    return Source(flake=f"path:{flake}", nix=nix)


def find_builders(directory: Path) -> list[str]:
    """The command lines of the processes that wait for the pipe ``never`` of ``directory``."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if f"{directory}/pipes/never".encode() in arguments:
            found.append(arguments.decode("utf-8", "replace"))
    return found


def assert_no_builder(directory: Path) -> None:
    """No builder of ``directory`` is left, now or soon."""
    wait_until(lambda: not find_builders(directory))


def wait_until(condition: Callable[[], bool], *, seconds: float = 30.0) -> None:
    """Fail where ``condition`` does not come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so within {seconds:g} s"
        time.sleep(0.05)
