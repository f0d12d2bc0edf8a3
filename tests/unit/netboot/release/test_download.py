"""An archive that comes in pieces, changes, stalls, or never arrives, over real sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.clock import Clock
from support.fetching import DATA, HALF, OTHER, fetch, reject
from support.forge import (
    ETAG,
    Forge,
    body,
    chunked,
    endless,
    hangs_up,
    ranged,
    ranged_endless,
    stalls,
    status,
    trickles,
    unframed,
    whole,
)
from support.releases import check_whole

from ectools.netboot.release.stage import StageOutcome

if TYPE_CHECKING:
    from pathlib import Path

    from support.forge import Answer, Request


# What happens to requests for the archive → words of the error.
ARCHIVES: dict[str, tuple[list[Answer], str]] = {
    "404": ([status(404)], "not found"),
    "500 for ever": ([status(500)], "status 500; given up"),
    "a web page": ([body(b"<html>" + b" " * (len(DATA) - 6))], "a web page, and a file was expected"),
    "shorter than announced": (
        [whole(DATA[:-1])],
        f"is {len(DATA) - 1} bytes long, and {len(DATA)} were announced",
    ),
    "longer than announced": ([whole(DATA + b"x")], f"is {len(DATA) + 1} bytes long"),
    "wrong content": ([whole(DATA[:-8] + bytes(8))], "damaged"),
    "other content": ([whole(OTHER)], "its SHA-256 is"),
    "cut for ever": ([ranged(DATA, cut=5000)], "bytes too early; given up"),
    "cut for ever, no length": ([unframed(DATA[:5000])], f"ended after 5000 of {len(DATA)} bytes; given up"),
    "cut chunks": ([chunked(DATA[:50000], cut=True)], "given up"),
    "stalls": ([stalls(DATA[:5000], length=len(DATA))], "given up"),
    "trickles": ([trickles(DATA)], "less than 1024 bytes a second; given up"),
    "changed meanwhile": ([ranged(DATA, cut=HALF), ranged(DATA, etag='"second"')], "changed on the server"),
    "changed, without Range": (
        [whole(DATA, cut=HALF), whole(DATA, etag='"second"')],
        "changed on the server",
    ),
    "changed, without ETag": (
        [whole(DATA, etag=None, cut=HALF), whole(b"x" + DATA[1:], etag=None)],
        "changed on the server",
    ),
    "gone meanwhile": ([ranged(DATA, cut=HALF), status(404)], "not found"),
    "no such range": ([ranged(DATA, cut=HALF), status(416)], "changed on the server"),
    "another range": (
        [ranged(DATA, cut=HALF), status(206, ETag=ETAG, Content_Range=f"bytes 0-14/{len(DATA)}")],
        "changed on the server",
    ),
    "a range of something longer": (
        [ranged(DATA, cut=HALF), status(206, ETag=ETAG, Content_Range=f"bytes {HALF}-99/{len(DATA) + 1}")],
        "changed on the server",
    ),
    "a range without a range": ([ranged(DATA, cut=HALF), status(206, ETag=ETAG)], "changed on the server"),
    "a range that ends before it begins": (
        [ranged(DATA, cut=HALF), status(206, ETag=ETAG, Content_Range=f"bytes {HALF}-99/{len(DATA)}")],
        "changed on the server",
    ),
    "a range without an end": ([ranged(DATA, cut=HALF), ranged_endless(DATA)], "longer than the 10 bytes"),
    "chunks without an end": ([endless(DATA)], f"longer than the {len(DATA)} bytes that were announced"),
    "an unasked range": ([status(206, ETag=ETAG, Content_Range=f"bytes 5-19/{len(DATA)}")], "changed on the"),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_that_does_not_arrive(
    name: str, forge: Forge, staged_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, words = ARCHIVES[name]
    if name == "trickles":
        monkeypatch.setattr("ectools.fetch.client.time", Clock(step=40))
    forge.on_archive(*answers)
    reject(staged_dir, forge, words, stall=0.1 if name == "stalls" else 60)


@pytest.mark.parametrize(
    ("answers", "requests"),
    [
        ([ranged(DATA, cut=HALF), ranged(DATA)], 2),
        ([ranged(DATA, cut=size) for size in (1, 1200000, 10, 1200000)] + [ranged(DATA)], 5),
        ([whole(DATA, cut=HALF), whole(DATA)], 2),
        ([whole(DATA, etag=None, cut=HALF), whole(DATA, etag=None)], 2),
        ([whole(DATA, etag='W/"weak"', cut=HALF), whole(DATA, etag='W/"weak"')], 2),
        ([unframed(DATA[:HALF]), ranged(DATA)], 2),
        ([chunked(DATA[:HALF], cut=True), ranged(DATA)], 2),
        ([chunked(DATA)], 1),
        ([unframed(DATA)], 1),
        ([hangs_up, status(503), ranged(DATA)], 3),
        ([status(503, Retry_After="0"), status(429, Retry_After="0"), ranged(DATA)], 3),
    ],
)
def test_an_archive_that_arrives_in_the_end(
    answers: list[Answer], requests: int, forge: Forge, staged_dir: Path
) -> None:
    forge.on_archive(*answers)
    assert fetch(staged_dir, forge).outcome is StageOutcome.STAGED
    assert check_whole(staged_dir)
    assert len(forge.asked_archive()) == requests


def test_a_stall_is_given_up(forge: Forge, staged_dir: Path) -> None:
    forge.on_archive(stalls(DATA[:HALF], length=len(DATA)), ranged(DATA))
    # A machine with much to do may take as long for any other answer: that is one attempt more.
    fetch(staged_dir, forge, stall=0.2, attempts=1000)
    assert check_whole(staged_dir)
    assert len(forge.asked_archive()) > 1


def test_a_server_may_give_less_than_the_range_that_was_asked_for(forge: Forge, staged_dir: Path) -> None:
    def answer_part(request: Request) -> None:
        wanted = f"bytes {HALF}-{HALF + 999}/{len(DATA)}"
        request.start(206, 1000, {"ETag": ETAG, "Content-Range": wanted})
        request.wfile.write(DATA[HALF : HALF + 1000])

    forge.publish(size=0)  # the forge does not say
    forge.on_archive(chunked(DATA[:HALF], cut=True), answer_part, ranged(DATA))
    assert fetch(staged_dir, forge).outcome is StageOutcome.STAGED
    assert forge.asked_archive()[2]["Range"] == f"bytes={HALF + 1000}-"


def test_what_has_arrived_is_not_asked_for_again(forge: Forge, staged_dir: Path) -> None:
    forge.on_archive(ranged(DATA, cut=HALF), ranged(DATA))
    fetch(staged_dir, forge)
    first, second = forge.asked_archive()
    assert "Range" not in first
    assert (second["Range"], second["If-Range"]) == (f"bytes={HALF}-", ETAG)
