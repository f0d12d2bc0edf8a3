"""nix/modules/store-cache.sh: a disk that keeps the store's image: filled, found again, spoilt, cut off."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.fickle_http import FickleServer, Turn, serve_fickly
from support.needs import require_tool
from support.store_stage1 import Stage1, require_root

pytestmark = [pytest.mark.timeout(300)]

PIECE = 64 << 10
INDEX = 4 << 20
_CHANCE = random.Random(11)
# A loop device has whole sectors alone, and so has a squashfs.
FIRST = _CHANCE.randbytes(40 * PIECE + 1536)
# One package is another, and longer; one has moved.
_CUT = 17 * PIECE + 123
SECOND = (
    FIRST[:_CUT]
    + _CHANCE.randbytes(PIECE)
    + FIRST[_CUT + 5120 : 30 * PIECE]
    + FIRST[33 * PIECE :]
    + FIRST[30 * PIECE : 33 * PIECE]
)
DISK_BYTES = 2 * (INDEX + 48 * PIECE)


@pytest.fixture
def stage1(tmp_path: Path) -> Stage1:
    return make_stage1(tmp_path)


def make_stage1(directory: Path) -> Stage1:
    require_root()
    require_tool("losetup", "install util-linux")
    disk = directory / "disk"
    with disk.open("wb") as file:
        file.truncate(DISK_BYTES)
    return Stage1(directory, FIRST, PIECE, cache=disk)


def run(stage1: Stage1, image: bytes = FIRST) -> tuple[str, FickleServer]:
    """What it says, and what the server was asked for."""
    with serve_fickly(image) as server:
        said = replace(stage1, image=image).run(server.url)
    return said, server


def slot_of(number: int) -> int:
    """Where a slot begins on the disk."""
    return number * (DISK_BYTES // 2 // PIECE * PIECE)


def detach(stage1: Stage1) -> None:
    """Loop devices of a program that was killed before its own went."""
    listing = ["losetup", "--noheadings", "--output", "NAME", "--associated", str(stage1.cache)]
    found = subprocess.run(listing, capture_output=True, text=True, check=True)
    for device in found.stdout.split():
        subprocess.run(["losetup", "--detach", device], check=True)


def overwrite(disk: Path, offset: int, data: bytes) -> None:
    with disk.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def test_what_is_kept_is_not_fetched_again(stage1: Stage1) -> None:
    _, server = run(stage1)
    assert server.sent == len(FIRST)
    assert stage1.is_on_disk()
    said, server = run(stage1)
    assert server.asked == []
    assert "41 of 41 pieces are there" in said
    assert stage1.is_on_disk()


def test_of_the_next_release_what_changed_is_fetched_alone(stage1: Stage1) -> None:
    run(stage1)
    _, server = run(stage1, SECOND)
    # What is new, and what shares a chunk with it, a chunk's length on either side of each cut.
    assert PIECE <= server.sent <= 10 * PIECE
    assert stage1.is_on_disk()
    # Both are there, and a third takes the place of the older one.
    assert run(stage1)[1].asked == []
    assert run(stage1, SECOND)[1].asked == []
    third = _CHANCE.randbytes(len(FIRST))
    run(stage1, third)
    assert run(stage1, SECOND)[1].asked == []
    assert run(stage1, third)[1].asked == []


def test_what_has_gone_bad_on_the_disk_is_fetched_again(stage1: Stage1) -> None:
    run(stage1)
    assert stage1.cache is not None
    overwrite(stage1.cache, INDEX + 3 * PIECE + 9, b"bad")
    overwrite(stage1.cache, INDEX + 40 * PIECE, b"bad")
    _, server = run(stage1)
    assert (server.asked, server.sent) == ([3 * PIECE, 40 * PIECE], PIECE + 1536)
    # A chunk that is not what the release before had there.
    overwrite(stage1.cache, INDEX + 3 * PIECE + 9, b"bad")
    run(stage1, SECOND)


def test_who_lies_about_what_is_missing_is_left_alone(stage1: Stage1) -> None:
    run(stage1)
    wrong = random.Random(3).randbytes(len(SECOND))
    with serve_fickly(SECOND, then=Turn(body=wrong)) as liar, serve_fickly(SECOND) as honest:
        said = replace(stage1, image=SECOND).run(liar.url, honest.url)
    assert f"{liar.url} gives other bytes than this release's: it is left alone" in said
    assert len(liar.asked) <= 3
    assert honest.sent > 0


def test_a_source_that_breaks_off_in_what_is_missing_is_followed_by_the_next(stage1: Stage1) -> None:
    run(stage1)
    turns = [Turn(count=11), Turn(status=404), Turn(count=0), Turn(raw=b"")]
    with serve_fickly(SECOND, turns, then=Turn(status=404)) as first, serve_fickly(SECOND) as second:
        replace(stage1, image=SECOND).run(first.url, second.url)
    assert second.sent > 0


def test_a_disk_with_something_else_on_it_is_left_as_it_is(stage1: Stage1) -> None:
    assert stage1.cache is not None
    overwrite(stage1.cache, 1080, b"\x53\xef")  # an ext4's
    before = stage1.cache.read_bytes()
    said, server = run(stage1)
    assert f"{stage1.cache} holds something else, and is left alone: it goes into memory" in said
    assert stage1.cache.read_bytes() == before
    assert server.sent == len(FIRST)
    assert not stage1.is_on_disk()


def make_foreign(disk: Path, kind: str) -> None:
    """Somebody else's, on what may have been a cache before. Nothing is wiped but by who makes it."""
    match kind:
        case "gpt" | "dos":
            require_tool("sfdisk", "install fdisk")
            argv = ["sfdisk", "--quiet", "--wipe=never", disk]
            subprocess.run(argv, input=f"label: {kind}\n,\n", text=True, check=True)
        case "vfat" | "ext4":
            program = require_tool(f"mkfs.{kind}", "install dosfstools and e2fsprogs")
            subprocess.run([program, *(["-q", "-F"] if kind == "ext4" else []), disk], check=True)
        case "swap":
            subprocess.run([require_tool("mkswap", "install util-linux"), "--quiet", disk], check=True)
        case _:
            # As LVM has it, in the second sector.
            overwrite(disk, 512, b"LABELONE" + bytes(16) + b"LVM2 001")


@pytest.mark.parametrize("slots", ["of here", "half way", "of slot 1 alone"])
@pytest.mark.parametrize("kind", ["gpt", "dos", "vfat", "ext4", "swap", "lvm"])
def test_a_disk_that_was_a_cache_is_left_to_whose_it_is_now(stage1: Stage1, kind: str, slots: str) -> None:
    """A slot may look like ours half way through it, and so may what stands before a signature."""
    disk = stage1.cache
    assert disk is not None
    run(stage1)
    if slots != "of here":
        run(stage1, SECOND)
    if slots == "of slot 1 alone":
        overwrite(disk, 0, bytes(1 << 20))
    make_foreign(disk, kind)
    before = disk.read_bytes()
    for image in (FIRST, SECOND, _CHANCE.randbytes(len(FIRST))):
        said, server = run(stage1, image)
        assert f"{disk} holds something else, and is left alone: it goes into memory" in said
        assert server.sent == len(image)
        assert disk.read_bytes() == before
    # Emptied as the documentation says, it is a cache again.
    overwrite(disk, 0, bytes(1 << 20))
    run(stage1)
    assert stage1.is_on_disk()


@pytest.mark.parametrize("kept", [100, 512, 4096, 1 << 20])
def test_a_first_write_that_a_power_cut_has_ended_is_known_as_ours(stage1: Stage1, kept: int) -> None:
    disk = stage1.cache
    assert disk is not None
    run(stage1)
    beginning = disk.read_bytes()[:kept]
    with disk.open("r+b") as file:
        file.truncate(0)
        file.truncate(DISK_BYTES)
    overwrite(disk, 0, beginning)
    run(stage1)
    assert stage1.is_on_disk()


def test_the_first_line_is_on_the_disk_before_the_rest(stage1: Stage1) -> None:
    """Of a slot without it nobody could say that it is ours."""
    log = stage1.directory / "written"
    busybox = stage1.directory / "busybox"
    busybox.write_text(
        f'#!/bin/bash\n[[ $1 = dd && $* = *of={stage1.cache}* ]] || exec {require_tool("busybox", "")} "$@"\n'
        f'{require_tool("busybox", "")} tee "{log}.part" | {require_tool("busybox", "")} "$@"; status=$?\n'
        f'echo "$(wc -c < "{log}.part") $*" >> "{log}"; exit $status\n'
    )
    busybox.chmod(0o755)
    stage1.environment["BUSYBOX"] = str(busybox)
    run(stage1)
    first, second, *_ = log.read_text().splitlines()
    assert int(first.split()[0]) <= 512 < int(second.split()[0])
    assert "fsync" in first


def test_without_the_disk_or_room_on_it_memory_is_taken(stage1: Stage1) -> None:
    assert stage1.cache is not None
    with stage1.cache.open("r+b") as file:
        file.truncate(2 * INDEX)
    assert "has 8 MiB, and 14 MiB are needed: it goes into memory" in run(stage1)[0]
    stage1.cache.unlink()
    assert f"there is no {stage1.cache}: it goes into memory" in run(stage1)[0]
    assert not stage1.is_on_disk()


def test_little_memory_is_enough_where_there_is_a_disk(stage1: Stage1) -> None:
    stage1.write("meminfo", "MemTotal:       70000 kB\nMemAvailable:       1000 kB\n")
    run(stage1)
    assert stage1.cache is not None
    stage1.cache.unlink()
    with serve_fickly(FIRST) as server:
        said = stage1.run(server.url, status=1)
    assert "too little memory" in said
    assert server.asked == []


@pytest.mark.parametrize("room", [0, 40_000, INDEX // 2])
def test_a_disk_that_cannot_be_written_to_is_given_up(stage1: Stage1, room: int) -> None:
    directory = stage1.directory / "small"
    directory.mkdir()
    # A sparse file, in a file system that is full after so much of it.
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={room + 4096}", "small", directory], check=True)
    try:
        stage1.cache = directory / "disk"
        with stage1.cache.open("wb") as file:
            file.truncate(DISK_BYTES)
        said, server = run(stage1)
    finally:
        subprocess.run(["umount", directory], check=True)
    assert f"{stage1.cache} " in said
    assert "it goes into memory" in said
    assert len(FIRST) <= server.sent <= len(FIRST) + INDEX
    assert not stage1.is_on_disk()


def test_a_power_cut_at_any_time_costs_no_more_than_what_it_lost(stage1: Stage1) -> None:
    chance = random.Random(7)
    run(stage1)
    for turn in range(6):
        image = (SECOND, FIRST)[turn % 2]
        # As a cut does, it ends in the middle of whatever comes.
        turns = [Turn(count=chance.randrange(PIECE)), Turn(count=1, hangs=True)]
        with serve_fickly(image, turns, then=Turn(count=1, hangs=True)) as server:
            process = replace(stage1, image=image).start(server.url)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(chance.random() / 2)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            detach(stage1)
    run(stage1, SECOND)
    _, server = run(stage1, SECOND)
    assert server.asked == []


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(
        st.sampled_from(
            [b"65536 0123456789abcdef\n", b"-1 x\n", b"99999999999 0123456789abcdef\n", b"a[$(id)] 0\n"]
        ),
        max_size=4,
    ),
    generation=st.sampled_from([b"1", b"0", b"-1", b"x", b"a[0]", b"999999999999999", b"08"]),
    of_slot=st.integers(0, 1),
    spoilt=st.lists(st.integers(0, DISK_BYTES - 64), max_size=6),
)
def test_whatever_is_on_the_disk_the_image_is_the_right_one(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[bytes],
    generation: bytes,
    of_slot: int,
    spoilt: list[int],
) -> None:
    stage1 = make_stage1(tmp_path_factory.mktemp("stage1"))
    assert stage1.cache is not None
    run(stage1)
    header = b"every-channel-store 1 %b %b\n" % (generation, b"0" * 64)
    overwrite(stage1.cache, slot_of(of_slot), b"".join([header, *lines]))
    for offset in spoilt:
        overwrite(stage1.cache, offset, b"\0spoilt\xff" * 8)
    run(stage1, SECOND)
    run(stage1)


def test_what_stands_on_the_disk_is_not_run(stage1: Stage1) -> None:
    mark = stage1.directory / "ran"
    assert stage1.cache is not None
    word = f"a[$(touch {mark})]".replace(" ", "${IFS}")
    text = f"every-channel-store 1 {word} {'0' * 64}\n{word} {'0' * 16}\nend\n"
    run(stage1)
    overwrite(stage1.cache, slot_of(1), text.encode())
    run(stage1, SECOND)
    assert stage1.is_on_disk()
    overwrite(stage1.cache, slot_of(0), text.encode())
    run(stage1)
    assert not mark.exists()
