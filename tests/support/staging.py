"""Fixtures of whoever stages releases: all is fsynced that is written, and in memory that costs nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.clock import Clock
from support.fetching import DATA
from support.forge import Forge, Request, start_forge
from support.releases import build_settings, release_files, write_archive

from ectools.netboot.release.stage import stage

if TYPE_CHECKING:
    from collections.abc import Iterator

_MEMORY = Path("/dev/shm")


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """As pytest's own, on a file system in memory where there is one."""
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as name:
        yield Path(name)


@pytest.fixture
def forge() -> Iterator[Forge]:
    """A forge whose release is as it should be."""
    with start_forge(DATA) as started:
        yield started


@pytest.fixture
def any_query(monkeypatch: pytest.MonkeyPatch) -> None:
    """The forge knows a path by its name alone."""
    inner = Request.do_GET

    def do_get(request: Request) -> None:
        request.path = request.path.partition("?")[0]
        inner(request)

    monkeypatch.setattr(Request, "do_GET", do_get)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock by which the client waits, and by which it measures a server."""
    made = Clock()
    monkeypatch.setattr("ectools.fetch.client.time", made)
    return made


@pytest.fixture
def staged_dir(tmp_path: Path) -> Path:
    """A state directory in which a release is current that no test stages."""
    state = tmp_path / "state"
    stage(build_settings(state, release_tarball=str(write_archive(tmp_path, release_files("zero")))))
    return state


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine's environment says."""
    for scheme in ("http", "https", "all", "no"):
        for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper()):
            monkeypatch.delenv(name, raising=False)
