"""nix/modules/cut-store.py: all of an image in order, and cuts that move with the bytes around them."""

from __future__ import annotations

import hashlib
import random
import runpy
import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

PROGRAM = Path(__file__).parents[2] / "nix/modules/cut-store.py"
find_cuts = runpy.run_path(str(PROGRAM))["find_cuts"]
AVERAGE = 64 << 10
IMAGE = random.Random(5).randbytes(24 * AVERAGE)


def cut(image: bytes) -> list[bytes]:
    return [image[begin:end] for begin, end in find_cuts(image)]


@given(st.binary(max_size=300), st.integers(0, 40))
def test_the_chunks_are_the_image(seed: bytes, times: int) -> None:
    image = seed * (1 << times // 4)
    chunks = cut(image)
    assert b"".join(chunks) == image
    assert all(AVERAGE // 4 <= len(chunk) <= 4 * AVERAGE for chunk in chunks[:-1])


@given(st.integers(0, len(IMAGE)), st.integers(0, 200_000), st.binary(max_size=100))
def test_what_is_behind_a_change_is_cut_as_before(offset: int, lost: int, new: bytes) -> None:
    changed = IMAGE[:offset] + new + IMAGE[offset + lost :]
    known = set(cut(IMAGE))
    others = sum(len(chunk) for chunk in cut(changed) if chunk not in known)
    # What is new, and the chunks on either side; after a short chunk it may take a few to be in step again.
    assert others <= len(new) + 12 * AVERAGE


def test_a_large_image_has_large_chunks() -> None:
    class Large(bytes):
        """As much as a store of 40 GiB, of which only the first chunk is looked at."""

        def __len__(self) -> int:
            return 40 << 30

    begin, end = next(find_cuts(Large(IMAGE)))
    assert begin == 0
    assert end >= 32 * AVERAGE // 4


def test_a_line_for_each_chunk(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(IMAGE)
    done = subprocess.run([sys.executable, PROGRAM, image], capture_output=True, text=True, check=True)
    expected = [f"{len(chunk)} {hashlib.sha256(chunk).hexdigest()[:16]}" for chunk in cut(IMAGE)]
    assert done.stdout.splitlines() == expected
    image.write_bytes(b"")
    done = subprocess.run([sys.executable, PROGRAM, image], capture_output=True, text=True, check=True)
    assert done.stdout == ""
