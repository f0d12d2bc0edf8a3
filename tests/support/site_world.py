"""A state directory with its site, as a boot server has it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from multidict import CIMultiDict, MultiDict
from support.log_lines import LogLines
from support.staged import make_release, put_release

from ectools.netboot.http.handler import RequestInfo, Resource
from ectools.netboot.http.responses import Delivery
from ectools.netboot.http.webroot import RejectedError
from ectools.netboot.release.prune import Retention, prune
from ectools.netboot.release.store import ReleaseStore
from ectools.netboot.server.policy import ServingPolicy
from ectools.netboot.server.site import BootSite
from ectools.netboot.settings.load import load_netboot_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ectools.netboot.release.manifest import Release

WHOLE = Delivery(status=200, sent=10, reached_end=True)
BROKEN = Delivery(status=200, sent=5, reached_end=False)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class World:
    """A state directory with its site, whose clock stands still."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = Clock()
        self.store = ReleaseStore(directory)
        self.site = BootSite(self.store, self.policy(), clock=self.clock)
        self.runner = asyncio.Runner()
        self.run = self.runner.run
        self.log = LogLines()
        self.events = self.log.having

    def policy(self, *tokens: str, **options: Any) -> ServingPolicy:
        flags = {"stateDir": str(self.directory), "hostname": "192.0.2.10", **options}
        return ServingPolicy.build(load_netboot_settings(None, flags=flags, environment={}), tokens)

    def stage(self, text: str) -> Release:
        files = {"bzImage": f"kernel {text}".encode(), "initrd": b"initrd", "more/notes.txt": b"notes"}
        release = make_release({name: files[name] for name in ("bzImage", "initrd", "more/notes.txt")})
        (self.directory / "releases" / release.id / "more").mkdir(parents=True)
        for name, data in files.items():
            (self.directory / "releases" / release.id / name).write_bytes(data)
        staged = self.directory / "elsewhere"
        put_release(staged, release, {"bzImage": b"", "initrd": b""})
        (staged / "releases" / release.id / "release.json").rename(
            self.directory / "releases" / release.id / "release.json"
        )
        self.point(release.id)
        return release

    def point(self, release_id: str) -> None:
        link = self.directory / ".new"
        link.symlink_to(f"releases/{release_id}")
        link.rename(self.directory / "current")

    def find(self, path: str, *, peer: str = "192.0.2.7", **headers: str) -> Resource:
        info = RequestInfo(
            peer=peer,
            method="GET",
            segments=tuple(part.encode() for part in path.split("/")),
            query=MultiDict(),
            headers=CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()}),
        )
        return self.run(self.site.find(info))

    def status(self, path: str) -> int:
        try:
            self.find(path)
        except RejectedError as error:
            return error.status
        return 200

    def fetch(
        self, path: str, delivery: Delivery = WHOLE, *, peer: str = "192.0.2.7", **headers: str
    ) -> None:
        found = self.find(path, peer=peer, **headers)
        assert found.on_complete is not None
        found.on_complete(delivery)

    def prune(self) -> dict[str, Retention]:
        (self.directory / ".staging").mkdir(exist_ok=True)
        return {each.release.id: each.retention for each in prune(self.store, keep=0)}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.site.close()
    world.runner.close()
