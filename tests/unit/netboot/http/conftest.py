"""A server's root; files to sockets, by system calls that a test scripts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support.http_house import make_root
from support.sendfile_bench import SIZE, Kernel

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_root(tmp_path)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel()
    monkeypatch.setattr(os, "sendfile", kernel.sendfile)
    return kernel


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with (tmp_path / "initrd").open("wb") as file:
        file.truncate(SIZE)
    return tmp_path / "initrd"


@pytest.fixture
def in_memory(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Each byte that is asked for is in memory; the positions at which it was asked."""
    asked: list[int] = []

    def preadv(_: int, buffers: list[bytearray], position: int, flags: int) -> int:
        assert flags == os.RWF_NOWAIT
        assert [len(buffer) for buffer in buffers] == [1]
        asked.append(position)
        return 1

    monkeypatch.setattr(os, "preadv", preadv)
    return asked
