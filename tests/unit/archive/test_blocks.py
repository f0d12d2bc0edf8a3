"""A stream in chunks of any size, taken in pieces of any other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ectools.archive.blocks import BLOCK, Blocks
from ectools.archive.decompress import ArchiveError


def blocks(*chunks: bytes) -> Blocks:
    return Blocks(iter(chunks), archive="test.tar")


@given(st.lists(st.binary(max_size=9), max_size=9), st.lists(st.integers(0, 20), max_size=9))
def test_what_is_taken_is_what_came(chunks: list[bytes], sizes: list[int]) -> None:
    whole, reader = b"".join(chunks), blocks(*chunks)
    for size in sizes:
        known = min(size, len(whole))
        assert reader.take(known) == whole[:known]
        whole = whole[known:]
    assert reader.take(len(whole)) == whole
    reader.finish()
    assert reader.take(0) == b""
    with pytest.raises(ArchiveError, match=r"^test.tar: the tar archive ends too early: it is truncated$"):
        reader.take(1)


def test_an_end_that_comes_too_early() -> None:
    reader = blocks(b"12", b"3")
    with pytest.raises(ArchiveError, match="ends too early"):
        reader.take(4)


def test_pieces_are_no_larger_than_what_is_wanted() -> None:
    assert [bytes(piece) for piece in blocks(b"123", b"45", b"6789").pieces(7)] == [b"123", b"45", b"67"]


@pytest.mark.parametrize(("size", "padding"), [(0, 0), (1, 511), (511, 1), (512, 0), (513, 511), (1024, 0)])
def test_padding_fills_a_block(size: int, padding: int) -> None:
    assert BLOCK == 512
    reader = blocks(bytes(padding) + b"next")
    reader.skip_padding(size)
    assert reader.take(4) == b"next"


@pytest.mark.parametrize("chunks", [[b"\0\0x"], [b"\0\0", b"x"], [b"\0", b"\0", b"\0x\0"]])
def test_nothing_but_zeros_may_stand_after_the_end(chunks: list[bytes]) -> None:
    reader = blocks(*chunks)
    reader.take(1)
    with pytest.raises(ArchiveError, match=r"^test.tar: there is something after the end of the tar arch"):
        reader.finish()
    blocks(*[chunk.replace(b"x", b"\0") for chunk in chunks]).finish()
