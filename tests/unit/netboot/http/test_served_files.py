"""Files opened off the loop: what is kept, what is shared, and who waits for whom."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from ectools.netboot.http import files as served
from ectools.netboot.http.cache import MAX_FILE_BYTES, CachedFile
from ectools.netboot.http.files import Files, read_cached_file
from ectools.netboot.http.webroot import OpenedFile, RejectedError, WebRoot

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "script").write_bytes(b"#!ipxe\n")
    (tmp_path / "small").write_bytes(bytes(MAX_FILE_BYTES))
    (tmp_path / "big").write_bytes(bytes(MAX_FILE_BYTES + 1))
    return tmp_path


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """So much later that a file is no longer as good as new."""
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 60)


def run(root: WebRoot, scenario: Callable[[Files], Coroutine[Any, Any, None]]) -> None:
    async def inside() -> None:
        files = Files(root)
        try:
            async with asyncio.timeout(60):
                await scenario(files)
        finally:
            files.close()

    asyncio.run(inside())


def webroot(root: Path) -> WebRoot:
    return WebRoot(root, store=root / "store")


def count_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_small_file_is_read_and_a_large_one_is_opened(root: Path) -> None:
    before = count_descriptors()
    for name, size in ((b"script", 7), (b"small", MAX_FILE_BYTES)):
        found = read_cached_file(webroot(root), (name,))
        assert isinstance(found, CachedFile)
        assert len(found.content) == found.validators.size == found.status.st_size == size
    assert count_descriptors() == before
    opened = read_cached_file(webroot(root), (b"big",))
    assert isinstance(opened, OpenedFile)
    assert os.pread(opened.descriptor, 1 << 20, 0) == bytes(MAX_FILE_BYTES + 1)
    os.close(opened.descriptor)


@pytest.mark.usefixtures("later")
def test_a_small_file_is_read_once_as_long_as_it_is_the_same(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[tuple[bytes, ...]] = []

    def read(of: WebRoot, segments: tuple[bytes, ...]) -> CachedFile | OpenedFile:
        reads.append(segments)
        return read_cached_file(of, segments)

    monkeypatch.setattr(served, "read_cached_file", read)

    async def scenario(files: Files) -> None:
        async def content() -> bytes:
            found = await files.get((b"script",))
            assert isinstance(found, CachedFile)
            return found.content

        assert [await content() for _ in range(3)] == [b"#!ipxe\n"] * 3
        assert len(reads) == 1
        # Where the kernel cannot tell without waiting, a thread asks it.
        with monkeypatch.context() as patch:
            patch.setattr(served, "stat_cached", lambda _: None)
            assert await content() == b"#!ipxe\n"
        assert len(reads) == 1
        (root / "new").write_bytes(b"another")
        (root / "new").rename(root / "script")
        assert await content() == b"another"
        assert len(reads) == 2
        (root / "script").unlink()
        with pytest.raises(RejectedError) as caught:
            await content()
        assert caught.value.status == 404

    run(webroot(root), scenario)


def test_a_large_file_is_opened_for_each_who_asks(root: Path) -> None:
    async def scenario(files: Files) -> None:
        found = [await files.get((b"big",)) for _ in range(2)]
        assert all(isinstance(file, OpenedFile) for file in found)
        for file in found:
            assert isinstance(file, OpenedFile)
            os.close(file.descriptor)

    run(webroot(root), scenario)


class HangingRoot(WebRoot):
    """A root where everything below ``hung`` waits until the test lets it on."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, store=root / "store")
        self.lock = threading.Lock()
        self.inside = self.most = self.looks = 0
        self.on = threading.Event()

    def open(self, segments: tuple[bytes, ...]) -> OpenedFile:
        if segments[0] == b"hung":
            with self.lock:
                self.inside += 1
                self.most = max(self.most, self.inside)
            self.on.wait(60)
            with self.lock:
                self.inside -= 1
        return super().open(segments)

    def is_there(self) -> bool:
        self.looks += 1
        self.on.wait(60)
        return super().is_there()


def test_what_hangs_below_one_name_takes_a_part_of_the_threads(root: Path) -> None:
    (root / "hung").mkdir()
    (root / "hung" / "file").write_bytes(b"late")
    hanging = HangingRoot(root)

    async def scenario(files: Files) -> None:
        waiting = [asyncio.create_task(files.get((b"hung", b"file"))) for _ in range(40)]
        while hanging.inside < 8:  # noqa: ASYNC110 - threads make it true
            await asyncio.sleep(0.001)
        # Others get theirs meanwhile.
        found = await files.get((b"script",))
        assert isinstance(found, CachedFile)
        hanging.on.set()
        for each in await asyncio.gather(*waiting):
            assert isinstance(each, CachedFile)
            assert each.content == b"late"
        assert hanging.most == 8

    run(hanging, scenario)


def test_what_is_opened_for_who_has_gone_is_closed(root: Path) -> None:
    (root / "hung").write_bytes(bytes(MAX_FILE_BYTES + 1))
    hanging = HangingRoot(root)

    async def scenario(files: Files) -> None:
        before = count_descriptors()
        asking = asyncio.create_task(files.get((b"hung",)))
        while not hanging.inside:  # noqa: ASYNC110 - a thread makes it true
            await asyncio.sleep(0.001)
        asking.cancel()
        await asyncio.wait({asking})
        assert asking.cancelled()
        hanging.on.set()
        while hanging.inside or count_descriptors() != before:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.001)

    run(hanging, scenario)


def test_whether_the_root_is_there_is_asked_once_for_all_who_ask_meanwhile(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = HangingRoot(root)
    monkeypatch.setattr(served, "_HEALTH_SECONDS", 0.02)

    async def scenario(files: Files) -> None:
        assert await asyncio.gather(*[files.is_root_there() for _ in range(3)]) == [False] * 3
        assert hanging.looks == 1
        assert not await files.is_root_there()
        hanging.on.set()
        while not await files.is_root_there():
            pass
        before = hanging.looks
        monkeypatch.setattr(served, "_HEALTH_SECONDS", 60)
        assert await files.is_root_there()
        assert hanging.looks == before + 1
        os.rename(root, root.with_name("away"))
        assert not await files.is_root_there()

    run(hanging, scenario)


@pytest.mark.parametrize("change", ["written", "shorter", "broken"])
def test_a_file_that_changes_while_it_is_read_is_not_kept_nor_served(
    root: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    pread = os.pread

    def read(descriptor: int, count: int, offset: int) -> bytes:
        if change == "broken":
            raise OSError(5, "Input/output error")
        content = pread(descriptor, count, offset)
        if change == "shorter":
            return content[:-1]
        os.utime(root / "script", ns=(0, (root / "script").stat().st_mtime_ns - 10**9))
        return content

    monkeypatch.setattr(os, "pread", read)
    before = count_descriptors()
    with pytest.raises(RejectedError) as caught:
        read_cached_file(webroot(root), (b"script",))
    assert caught.value.status == (500 if change == "broken" else 503)
    assert count_descriptors() == before


def test_a_name_that_is_not_served_is_not_opened(root: Path) -> None:
    async def scenario(files: Files) -> None:
        for segments in ((b".hidden",), (b"",), (b"none",)):
            with pytest.raises(RejectedError) as caught:
                await files.get(segments)
            assert caught.value.status == 404

    run(webroot(root), scenario)
