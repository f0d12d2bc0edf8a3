"""Every nix that can be run here: the system's, and a newer one where it can be had beside it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support.fake_nix import STORE, FakeProcess
from support.needs import give_up, require_tool
from support.newer_nix import Unavailable, find_newer_nix

from pynix_eval_shim import Nix, process

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session", params=["system", "newer"])
def nix(request: pytest.FixtureRequest) -> Nix:
    """A nix with the settings of the tests: offline, no sandbox where root could not set one up."""
    if request.param == "system":
        program = require_tool("nix", "install nix (Debian: nix-bin)")
    else:
        try:
            program = str(find_newer_nix())
        except Unavailable as reason:
            if reason.expected:
                pytest.skip(str(reason))
            give_up(f"a newer nix: {reason}")
    options = {"sandbox": "false"} if os.geteuid() == 0 else {}
    return Nix(program=program, options=options, offline=True)


@pytest.fixture
def private_store(nix: Nix, tmp_path: Path) -> Nix:
    """The nix with a store of the test's own, in which everything is still to be built."""
    store = f"local?store={tmp_path}/store&state={tmp_path}/state&log={tmp_path}/log"
    return Nix(program=nix.program, options=nix.options, offline=nix.offline, store=store)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> FakeProcess:
    fake = FakeProcess()
    monkeypatch.setattr(process, "run_nix", fake)
    return fake


@pytest.fixture
def bin_directory(tmp_path: Path) -> Path:
    directory = tmp_path / "bin"
    directory.mkdir()
    for name in ("nix", "nix-instantiate", "nix-store"):
        (directory / name).touch(mode=0o755)
    return directory


@pytest.fixture
def fake(bin_directory: Path) -> Nix:
    """A nix with a store that is not the machine's."""
    return Nix(program=str(bin_directory / "nix"), store=STORE[1])
