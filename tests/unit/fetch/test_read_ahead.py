"""A stream that is read ahead: the same, in its order, within its bound, and with its failures."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ectools.fetch.read_ahead import read_ahead

if TYPE_CHECKING:
    from collections.abc import Generator

WAIT = 60


class SourceError(Exception):
    pass


@given(chunks=st.lists(st.binary(max_size=40), max_size=30), limit=st.integers(0, 100), fails=st.booleans())
def test_what_comes_is_what_was_read(chunks: list[bytes], limit: int, fails: bool) -> None:
    ahead, given_out, most = 0, 0, 0

    def source() -> Generator[bytes, None, None]:
        nonlocal ahead
        for chunk in chunks:
            ahead += len(chunk)
            yield chunk
        if fails:
            raise SourceError

    found = []
    stream = read_ahead(source(), limit=limit)
    try:
        for chunk in stream:
            most = max(most, ahead - given_out)
            given_out += len(chunk)
            found.append(chunk)
    except SourceError:
        assert fails
    else:
        assert not fails
    assert found == chunks
    # The one that is used, what is allowed, and the one that went beyond it.
    assert most <= limit + 2 * max(map(len, chunks), default=0)


def test_it_is_read_while_what_came_is_used() -> None:
    second = threading.Event()

    def source() -> Generator[bytes, None, None]:
        yield b"1"
        second.set()
        yield b"2"

    stream = read_ahead(source(), limit=10)
    assert next(stream) == b"1"
    assert second.wait(WAIT)
    assert list(stream) == [b"2"]


def test_one_that_is_closed_lets_its_source_go() -> None:
    closed = threading.Event()

    def source() -> Generator[bytes, None, None]:
        try:
            while True:
                yield b"x"
        finally:
            closed.set()

    stream = read_ahead(source(), limit=10)
    assert next(stream) == b"x"
    stream.close()
    assert closed.wait(WAIT)


def test_nobody_waits_for_a_source_that_hangs() -> None:
    go_on = threading.Event()

    def source() -> Generator[bytes, None, None]:
        yield b"x"
        go_on.wait(WAIT)

    stream = read_ahead(source(), limit=10)
    with pytest.raises(SourceError):
        stream.throw(SourceError)
    assert not any(thread.name == "read-ahead" for thread in threading.enumerate())
    stream = read_ahead(source(), limit=10)
    assert next(stream) == b"x"
    stream.close()
    go_on.set()
