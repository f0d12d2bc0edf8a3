"""nix/modules/fetch-store.sh, as stage 1 runs it: from servers that break off, lie, hang and refuse."""

from __future__ import annotations

import contextlib
import random
import socket
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.boot_service import boot_service, require_boot_services, stage, write_settings
from support.fickle_http import Turn, serve_fickly
from support.free_port import choose_port
from support.guests import wait_until
from support.releases import release_files
from support.reports_taken import TOKEN, record_reports
from support.store_stage1 import SCRIPTS, Stage1, require_root

pytestmark = [pytest.mark.timeout(300)]

PIECE = 1 << 12
IMAGE = random.Random(1).randbytes(20 * PIECE + 77)
WRONG = random.Random(2).randbytes(len(IMAGE))


@pytest.fixture
def stage1(tmp_path: Path) -> Stage1:
    require_root()
    return Stage1(tmp_path, IMAGE, PIECE)


def test_an_image_comes_whole_from_the_boot_server(stage1: Stage1, tmp_path: Path) -> None:
    require_boot_services()
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    release = stage(state, {**release_files(), "store.squashfs": IMAGE})
    with boot_service(write_settings(tmp_path)) as service:
        said = stage1.run(f"http://{service.address}:{service.port}/releases/{release.id}/netboot.ipxe")
    assert said.splitlines()[-1] == "every.channel: the Nix store: whole, and as it was released"
    assert "50 % of 1 MiB" in said


def test_a_connection_that_is_cut_twenty_times_costs_a_piece_each(stage1: Stage1) -> None:
    chance = random.Random(3)
    turns = [Turn(count=chance.randrange(PIECE, 2 * PIECE)) for _ in range(19)] + [Turn(count=PIECE // 2)]
    with serve_fickly(IMAGE, turns) as server:
        stage1.run(server.url)
    assert len(server.asked) == 21
    assert server.asked == sorted(server.asked)
    assert server.sent <= len(IMAGE) + 20 * PIECE


def test_a_mirror_that_lies_is_left_alone(stage1: Stage1) -> None:
    forged = IMAGE[: 5 * PIECE] + WRONG[5 * PIECE :]
    with (
        serve_fickly(IMAGE, then=Turn(body=forged)) as liar,
        serve_fickly(IMAGE) as honest,
    ):
        said = stage1.run(liar.url, honest.url)
    assert f"{liar.url} gives other bytes than this release's: it is left alone" in said
    assert (liar.asked, honest.asked) == ([0], [5 * PIECE])


def test_an_image_that_is_changed_in_between_is_not_mixed_with_the_other(stage1: Stage1) -> None:
    turns = [Turn(count=7 * PIECE), Turn(body=WRONG), Turn(body=WRONG)]
    with serve_fickly(IMAGE, turns) as server:
        stage1.run(server.url)
    assert server.asked == [0, 7 * PIECE, 7 * PIECE, 7 * PIECE]


def test_a_server_without_ranges_gives_all_of_it_or_nothing(stage1: Stage1) -> None:
    with serve_fickly(IMAGE, then=Turn(status=200)) as server:
        stage1.run(server.url)
    with (
        serve_fickly(IMAGE, [Turn(count=3 * PIECE)], then=Turn(status=200)) as first,
        serve_fickly(IMAGE) as second,
    ):
        stage1.run(first.url, second.url)
    assert second.asked == [3 * PIECE]


HEADER = b"HTTP/1.1 206 X\r\n"
FAULTS = {
    "no answer": Turn(raw=b""),
    "no HTTP": Turn(raw=b"SSH-2.0-x\r\n\r\n"),
    "not found": Turn(status=404),
    "elsewhere": Turn(raw=b"HTTP/1.1 302 X\r\nLocation: http://127.0.0.1:1/x\r\n\r\n"),
    "another range": Turn(raw=HEADER + b"Content-Range: bytes 9-99/100\r\n\r\n" + IMAGE),
    "no range": Turn(raw=HEADER + b"\r\n" + IMAGE),
    "endless fields": Turn(raw=HEADER + b"X: y\r\n" * 100_000),
    "an endless line": Turn(raw=b"HTTP/1.1 206 " + b"x" * (1 << 22)),
    "a NUL": Turn(raw=b"HTTP/1.1 206 \0\r\n\0: \0\r\n\r\n"),
    "half a header": Turn(raw=HEADER, hangs=True),
    "a field now and then": Turn(raw=HEADER, drips=b"X: y\r\n"),
    "nothing": Turn(raw=b"", hangs=True),
    "half a piece": Turn(count=PIECE // 2, hangs=True),
    "a shorter image": Turn(body=IMAGE[:PIECE]),
    "other bytes": Turn(body=WRONG),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_who_fails_is_named_and_the_next_one_is_asked(stage1: Stage1, fault: str) -> None:
    stage1.environment["STALL_SECONDS"] = "1"
    with serve_fickly(IMAGE, then=FAULTS[fault]) as server, serve_fickly(IMAGE) as good:
        stage1.run(server.url, good.url)
    # Not asked again for as long as others give it; nor heard out, where it never ends.
    assert len(server.asked) <= 2
    assert server.drops < 40


def test_addresses_that_cannot_be_asked(stage1: Stage1) -> None:
    closed = f"http://127.0.0.1:{choose_port()}/x/"
    odd = ["https://127.0.0.1/x/", "http://", "x", "", "http://127.0.0.1:99999/x/", "http://[::1/x/"]
    with serve_fickly(IMAGE, [Turn(status=404), Turn(count=PIECE)]) as server:
        said = stage1.run(closed, *odd, server.url)
    assert f"{closed}store.squashfs: nobody answers" in said
    assert "https://127.0.0.1/x/store.squashfs: stage 1 speaks plain HTTP alone" in said
    assert f"{server.url}: HTTP 404" in said


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    turns=st.lists(
        st.builds(
            Turn,
            status=st.sampled_from([206, 206, 200, 404, 503]),
            body=st.sampled_from([None, None, WRONG, IMAGE[: 3 * PIECE]]),
            count=st.none() | st.integers(0, len(IMAGE)),
        ),
        max_size=8,
    ),
    sources=st.integers(1, 3),
)
def test_whatever_happens_it_ends_with_the_right_image(
    tmp_path_factory: pytest.TempPathFactory, turns: Sequence[Turn], sources: int
) -> None:
    require_root()
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(serve_fickly(IMAGE, turns[at::sources])) for at in range(sources)]
        Stage1(tmp_path_factory.mktemp("stage1"), IMAGE, PIECE).run(*(each.url for each in servers))


def test_too_little_memory_is_said_before_anything_is_fetched(stage1: Stage1) -> None:
    stage1.write("meminfo", "MemTotal:       70000 kB\nMemAvailable:       60000 kB\n")
    with serve_fickly(IMAGE) as server, record_reports() as told:
        said = stage1.run(server.url, more=told.build_arguments("127.0.0.1"), status=1)
    assert "too little memory: 59 MiB are free, and 65 MiB are needed" in said
    assert server.asked == []
    assert not stage1.rebooted()
    (form,) = told.reports
    assert form["failed"] == ["every-channel-store.service"]
    assert form["healthy"] == ["no"]
    assert "too little memory" in form["journal"][0]


def test_a_machine_that_gets_nothing_boots_anew(stage1: Stage1) -> None:
    stage1.environment["GIVE_UP_SECONDS"] = "1"
    with serve_fickly(IMAGE, [Turn(count=3 * PIECE)], then=Turn(status=404)) as server:
        said = stage1.run(server.url, status=2)
    assert f"{server.url}: HTTP 404" in said
    assert stage1.rebooted()
    assert stage1.kept() == IMAGE[: 3 * PIECE]


def test_the_boot_server_is_told_how_far_it_is(stage1: Stage1) -> None:
    stage1.environment["TELL_SECONDS"] = "0"
    with serve_fickly(IMAGE) as server, record_reports() as told:
        stage1.run(server.url, more=told.build_arguments("127.0.0.1"))
        wait_until(lambda: any(form["percent"] == ["100"] for form in told.reports), "the last word")
    assert all(form["stage"] == ["store"] for form in told.reports)
    assert {form["percent"][0] for form in told.reports} <= {str(n * 100 // 21) for n in range(1, 22)}


def test_a_boot_server_that_does_not_answer_costs_no_time(stage1: Stage1) -> None:
    stage1.environment["TELL_SECONDS"] = "0"
    with serve_fickly(IMAGE) as server, socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/report?boot={TOKEN}"
        stage1.run(server.url, more=f"every_channel.report={url}")


def test_where_nobody_says_where_it_is(stage1: Stage1) -> None:
    said = stage1.run(more="every_channel.store", status=1)
    assert "store.squashfs" not in said


def test_the_scripts_are_programs_of_nobody_else() -> None:
    assert not any(stat.S_IMODE(each.stat().st_mode) & 0o111 for each in SCRIPTS)
