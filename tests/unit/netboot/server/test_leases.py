"""Releases that are held while they are used: a store that counts, and a clock that the test moves."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, cast

import pytest
from support.staged import make_release

from ectools.errors import EcError
from ectools.netboot.server.leases import LEASE_LINGER_SECONDS, ReleaseLeases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ectools.netboot.release.manifest import Release
    from ectools.netboot.release.store import ReleaseStore

ONE = make_release({"bzImage": b"one", "initrd": b"i"})
TWO = make_release({"bzImage": b"two", "initrd": b"i"})


class Store:
    """Two releases; ``held`` are those that are locked now."""

    def __init__(self) -> None:
        self.held: list[str] = []
        self.reads = 0
        self.error: EcError | None = None
        self.may_read = threading.Event()
        self.may_read.set()
        self.threads: set[int] = set()

    @contextlib.contextmanager
    def hold(self, release_id: str) -> Iterator[Release]:
        self.reads += 1
        self.threads.add(threading.get_ident())
        self.may_read.wait(60)
        if self.error is not None:
            raise self.error
        self.held.append(release_id)
        try:
            yield {ONE.id: ONE, TWO.id: TWO}[release_id]
        finally:
            self.held.remove(release_id)


class Case:
    def __init__(self) -> None:
        self.store = Store()
        self.now = 0.0
        self.leases = ReleaseLeases(cast("ReleaseStore", self.store), clock=lambda: self.now)

    def sweep(self, *, after: float, current: str | None = None) -> list[str]:
        self.now += after
        self.leases.sweep(current=current)
        return self.store.held


def test_a_release_is_read_once_off_the_loop_and_held() -> None:
    async def run() -> None:
        case = Case()
        assert [await case.leases.take(ONE.id) for _ in range(3)] == [ONE] * 3
        assert (case.store.reads, case.store.held) == (1, [ONE.id])
        assert threading.get_ident() not in case.store.threads
        assert await case.leases.take(TWO.id) == TWO
        case.leases.close()
        assert case.store.held == []
        # After that it is read anew.
        await case.leases.take(ONE.id)
        assert case.store.reads == 3
        case.leases.close()

    asyncio.run(run())


def test_all_who_ask_meanwhile_share_one_look_and_one_may_go_away() -> None:
    async def run() -> None:
        case = Case()
        case.store.may_read.clear()
        asking = [asyncio.create_task(case.leases.take(ONE.id)) for _ in range(3)]
        while not case.store.reads:  # noqa: ASYNC110 - a thread makes it true
            await asyncio.sleep(0)
        asking[0].cancel()
        await asyncio.wait({asking[0]})
        case.store.may_read.set()
        assert await asyncio.gather(*asking[1:]) == [ONE, ONE]
        assert asking[0].cancelled()
        assert (case.store.reads, case.store.held) == (1, [ONE.id])
        case.leases.close()

    asyncio.run(run())


def test_one_that_cannot_be_read_is_tried_again() -> None:
    async def run() -> None:
        case = Case()
        case.store.error = EcError("gone")
        for _ in range(2):
            with pytest.raises(EcError, match="gone"):
                await case.leases.take(ONE.id)
        assert (case.store.reads, case.store.held) == (2, [])
        case.store.error = None
        assert await case.leases.take(ONE.id) == ONE
        case.leases.close()

    asyncio.run(run())


def test_what_is_not_used_for_a_while_is_let_go() -> None:
    async def run() -> None:
        case = Case()
        await case.leases.take(ONE.id)
        assert case.sweep(after=LEASE_LINGER_SECONDS) == [ONE.id]
        assert case.sweep(after=1) == []
        case.leases.close()
        # Each kind of use begins that time anew.
        await case.leases.take(ONE.id)
        for use in (case.leases.keep, case.leases.begin, case.leases.end):
            case.now += LEASE_LINGER_SECONDS
            use(ONE.id)
            assert case.sweep(after=LEASE_LINGER_SECONDS) == [ONE.id]
        case.now += 1
        await case.leases.take(ONE.id)
        assert case.sweep(after=LEASE_LINGER_SECONDS) == [ONE.id]
        assert case.sweep(after=1) == []

    asyncio.run(run())


def test_the_current_one_and_one_that_is_downloaded_are_held_for_ever() -> None:
    async def run() -> None:
        case = Case()
        await case.leases.take(ONE.id)
        await case.leases.take(TWO.id)
        assert case.sweep(after=10 * LEASE_LINGER_SECONDS, current=TWO.id) == [TWO.id]
        await case.leases.take(ONE.id)
        case.leases.begin(ONE.id)
        case.leases.begin(ONE.id)
        case.leases.end(ONE.id)
        assert case.sweep(after=10 * LEASE_LINGER_SECONDS) == [ONE.id]
        case.leases.end(ONE.id)
        assert case.sweep(after=10 * LEASE_LINGER_SECONDS) == []

    asyncio.run(run())
