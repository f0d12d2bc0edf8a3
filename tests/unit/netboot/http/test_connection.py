"""One client's connection, between a transport and an inner protocol that note what they are told."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest
from support.connections import HEADER, Case, clock, send, within
from support.still_loop import advance, run_still, turns

from ectools.netboot.http.admission import Loss
from ectools.netboot.http.connection import (
    LINGER_SECONDS,
    MAX_AHEAD_BYTES,
    MAX_HEADER_BYTES,
    ConnectionState,
)
from ectools.netboot.http.sendfile import Abort
from ectools.netboot.http.slots import Use

if TYPE_CHECKING:
    pass


def test_a_connection_begins_by_waiting_for_a_header() -> None:
    def scenario(case: Case) -> None:
        connection = case.connection
        assert connection.state is ConnectionState.HEADER
        assert (connection.served, connection.header_bytes, connection.close_after) == (0, 0, False)
        assert connection.since == clock().now
        assert connection.deadline == clock().now + 10
        assert connection in case.scheduler.waiting
        assert connection.peer == "192.0.2.7"
        assert case.transport.high == 0
        assert case.use is Use.REST

    within(scenario)


def test_the_inner_protocol_is_made_when_the_first_header_is_there_and_gets_every_byte() -> None:
    def scenario(case: Case) -> None:
        for position in range(len(HEADER)):
            assert (case.made, case.inner.data) == (0, b"")
            case.connection.data_received(HEADER[position : position + 1])
        assert (case.made, case.inner.calls, case.inner.data) == (1, ["made"], HEADER)
        assert case.connection.state is ConnectionState.ANSWER
        case.connection.begin(has_body=False)
        case.connection.finish()
        # From then on each byte goes on as it comes.
        case.connection.data_received(b"GET")
        assert case.inner.data == HEADER + b"GET"
        assert case.connection.state is ConnectionState.HEADER
        case.connection.data_received(b" / HTTP/1.1\n\n")
        assert case.connection.state is ConnectionState.ANSWER
        assert (case.made, case.inner.data) == (1, HEADER + b"GET / HTTP/1.1\n\n")

    within(scenario)


@pytest.mark.parametrize("end", [b"\r\n\r\n", b"\n\n", b"\r\n\n", b"\n\r\n"])
def test_every_form_of_a_headers_end_is_seen_however_it_is_cut(end: bytes) -> None:
    def scenario(_: Case) -> None:
        text = b"\r\n\r\nGET / HTTP/1.1" + end
        for cut in range(len(text)):
            case = Case()
            case.connection.data_received(text[:cut])
            assert case.connection.state is ConnectionState.HEADER
            case.connection.data_received(text[cut:])
            assert case.connection.state is ConnectionState.ANSWER
            assert case.inner.data == text
            case.close()

    within(scenario)


@pytest.mark.parametrize("step", [1, 1000, MAX_HEADER_BYTES])
def test_a_header_may_have_so_many_bytes_and_no_more(step: int) -> None:
    def feed(case: Case, text: bytes) -> None:
        for position in range(0, len(text), step):
            case.connection.data_received(text[position : position + step])

    def scenario(case: Case) -> None:
        assert MAX_HEADER_BYTES == 16384
        feed(case, b"x" * (MAX_HEADER_BYTES - 4) + b"\r\n\r\n")
        assert case.connection.state is ConnectionState.ANSWER
        assert case.rejected == []
        other = Case()
        feed(other, b"x" * MAX_HEADER_BYTES)
        assert other.connection.state is ConnectionState.HEADER
        other.connection.data_received(b"x")
        assert other.rejected == [HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE]
        assert other.transport.written == (
            b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        assert other.transport.calls == ["eof"]
        assert other.connection.state is ConnectionState.LINGER
        assert other.connection.deadline == clock().now + LINGER_SECONDS
        assert other.connection not in other.scheduler.waiting
        # What comes then is thrown away.
        other.connection.data_received(b"x" * 100_000 + b"\r\n\r\n")
        assert (other.made, other.rejected) == (0, [HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE])
        other.close()

    within(scenario)


def test_a_header_whose_end_comes_too_late_in_one_piece_is_rejected() -> None:
    def scenario(case: Case) -> None:
        case.connection.data_received(b"x" * MAX_HEADER_BYTES + b"\r\n\r\n")
        assert case.rejected == [HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE]
        assert case.made == 0

    within(scenario)


def test_each_request_has_its_own_limit() -> None:
    def scenario(case: Case) -> None:
        for _ in range(3):
            case.connection.data_received(b"x" * (MAX_HEADER_BYTES - 100))
            assert case.connection.header_bytes == MAX_HEADER_BYTES - 100
            case.connection.data_received(b"\r\n\r\n")
            case.connection.begin(has_body=False)
            case.connection.finish()
            assert case.connection.header_bytes == 0
        assert case.rejected == []
        # Nor does the end of one request begin the next one's end.
        case.connection.data_received(b"\r\n")
        assert case.connection.state is ConnectionState.HEADER

    within(scenario)


def test_what_may_come_ahead_is_bounded() -> None:
    def scenario(case: Case) -> None:
        assert MAX_AHEAD_BYTES == 65536
        for _ in range(2):
            case.request()
            before = len(case.inner.data)
            case.connection.data_received(b"a" * (MAX_AHEAD_BYTES - 1))
            case.connection.data_received(b"b")
            assert len(case.inner.data) == before + MAX_AHEAD_BYTES
            assert not case.connection.close_after
            case.connection.finish()
        case.request()
        case.connection.data_received(b"a" * MAX_AHEAD_BYTES)
        before = len(case.inner.data)
        case.connection.data_received(b"b")
        assert case.connection.close_after
        assert len(case.inner.data) == before
        assert case.transport.calls == []
        case.connection.finish()
        assert case.transport.calls == ["close"]

    within(scenario)


def test_a_request_has_no_deadline_while_it_is_answered_and_the_next_one_has_its_time() -> None:
    async def run() -> None:
        case = Case()
        case.request()
        assert (case.connection.state, case.use) == (ConnectionState.BUSY, Use.WORK)
        assert case.connection.deadline is None
        await advance(100)
        assert case.connection.since == clock().now - 100
        case.connection.finish()
        assert (case.connection.state, case.use) == (ConnectionState.HEADER, Use.REST)
        assert case.connection.served == 1
        assert case.connection.since == clock().now
        assert case.connection.deadline == clock().now + 10
        assert case.connection not in case.scheduler.waiting
        assert case.transport.calls == []
        # It waits for an answer again as soon as a byte of its next request has come.
        case.connection.data_received(b"G")
        assert case.connection in case.scheduler.waiting
        case.close()

    run_still(run())


def test_after_a_request_with_a_body_the_connection_is_left_to_end() -> None:
    def scenario(case: Case) -> None:
        case.request(has_body=True)
        case.connection.finish()
        assert (case.connection.state, case.use) == (ConnectionState.REST, Use.REST)
        assert case.connection.deadline == clock().now + LINGER_SECONDS
        case.connection.data_received(b"the rest")
        assert case.inner.data.endswith(b"the rest")
        assert case.transport.calls == []
        case.connection.expire()
        assert case.transport.calls == ["close"]
        case.connection.expire()
        assert case.transport.calls == ["close", "abort"]

    within(scenario)


def test_a_client_that_has_sent_its_last_request_still_gets_its_answer() -> None:
    def scenario(case: Case) -> None:
        case.connection.data_received(HEADER)
        assert case.connection.eof_received() is True
        case.connection.begin(has_body=False)
        assert case.connection.eof_received() is True
        assert case.inner.calls == ["made"]
        case.connection.finish()
        assert case.transport.calls == ["close"]

    within(scenario)


def test_a_client_that_ends_between_requests_is_gone() -> None:
    def scenario(case: Case) -> None:
        assert case.connection.eof_received() is None
        case.request()
        case.connection.finish()
        assert case.connection.eof_received() is None
        assert case.inner.calls == ["made", "eof"]
        assert not case.connection.close_after

    within(scenario)


def test_writing_pauses_for_the_inner_protocol_alone() -> None:
    def scenario(case: Case) -> None:
        case.connection.pause_writing()
        case.connection.resume_writing()
        case.request()
        case.connection.pause_writing()
        case.connection.resume_writing()
        assert case.inner.calls == ["made", "pause", "resume"]

    within(scenario)


def test_deadlines() -> None:
    def scenario(case: Case) -> None:
        case.connection.expire()
        assert (case.transport.calls, case.transport.written) == (["close"], b"")
        begun = Case()
        begun.connection.data_received(b"GET /")
        begun.connection.expire()
        assert begun.transport.written.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert b"Retry-After" not in begun.transport.written
        assert begun.rejected == [HTTPStatus.REQUEST_TIMEOUT]
        assert begun.transport.calls == ["eof"]
        assert begun.connection.state is ConnectionState.LINGER
        # Its time to read that is over too.
        begun.connection.expire()
        assert begun.transport.calls == ["eof", "abort"]
        begun.close()
        early = Case(connected=False)
        early.connection.expire()
        assert early.transport.calls == []
        early.close()

    within(scenario)


def test_a_client_that_hangs_up_while_it_is_rejected_is_dropped() -> None:
    def scenario(case: Case) -> None:
        case.transport.eof_error = OSError(107, "Transport endpoint is not connected")
        case.connection.data_received(b"GET /")
        case.connection.expire()
        assert case.transport.calls == ["abort"]
        assert case.rejected == [HTTPStatus.REQUEST_TIMEOUT]

    within(scenario)


def test_who_makes_room_at_rest_is_told_only_if_it_wants_something() -> None:
    def scenario(case: Case) -> None:
        told = (
            b"HTTP/1.1 503 Service Unavailable\r\n"
            b"Content-Length: 0\r\nConnection: close\r\nRetry-After: 7\r\n\r\n"
        )
        case.connection.make_room(Loss.RESTING)  # never answered yet
        assert (case.transport.written, case.transport.calls) == (told, ["close"])
        assert case.connection.state is ConnectionState.LINGER
        assert case.rejected == []
        idle = Case()
        idle.request()
        idle.connection.finish()
        idle.connection.make_room(Loss.RESTING)
        assert (idle.transport.written, idle.transport.calls) == (b"", ["close"])
        begun = Case()
        begun.request()
        begun.connection.finish()
        begun.connection.data_received(b"G")
        begun.connection.make_room(Loss.RESTING)
        assert begun.transport.written == told
        complete = Case()
        complete.connection.data_received(HEADER)
        complete.connection.make_room(Loss.RESTING)
        assert complete.transport.written == told
        rest = Case()
        rest.request(has_body=True)
        rest.connection.finish()
        rest.connection.make_room(Loss.RESTING)
        assert (rest.transport.written, rest.transport.calls) == (b"", ["close"])
        early = Case(connected=False)
        early.connection.make_room(Loss.RESTING)
        assert early.connection.state is ConnectionState.HEADER
        for each in (idle, begun, complete, rest, early):
            each.close()

    within(scenario)


@pytest.mark.parametrize("loss", [Loss.SLOW, Loss.SHARE])
def test_who_makes_room_at_work_is_dropped(loss: Loss) -> None:
    async def run() -> None:
        case = Case()
        case.request()
        sending = asyncio.create_task(send(case))
        await turns()
        case.connection.make_room(loss)
        assert case.transport.calls == ["abort"]
        assert case.transport.written == b""
        assert await sending == (0, Abort.MADE_ROOM)
        case.close()

    run_still(run())


def test_no_download_is_hurried_for_what_has_a_body() -> None:
    def scenario(case: Case) -> None:
        case.connection.data_received(HEADER)
        assert case.connection in case.scheduler.waiting
        case.connection.begin(has_body=True, wanted_bytes=5)
        assert case.connection not in case.scheduler.waiting
        case.connection.data_received(b"hello")
        assert case.connection not in case.scheduler.waiting

    within(scenario)


def test_no_download_is_hurried_for_long_for_who_sends_nothing() -> None:
    async def run() -> None:
        case = Case()
        case.connection.rest(clock().now, 0.5)
        assert case.connection in case.scheduler.waiting
        await advance(0.5)
        case.connection.rest(clock().now, 0.5)
        assert case.connection not in case.scheduler.waiting
        case.connection.data_received(b"G")
        assert case.connection in case.scheduler.waiting
        # It has a header, and is being answered: however long that takes, it is waited for.
        case.connection.data_received(HEADER[1:])
        case.connection.rest(clock().now + 9, 0.5)
        assert case.connection in case.scheduler.waiting
        case.close()

    run_still(run())


def test_a_file_is_sent_over_the_connections_own_socket() -> None:
    async def run() -> None:
        case = Case()
        case.request()
        assert case.connection in case.scheduler.waiting
        sending = asyncio.create_task(send(case))
        await turns()
        assert case.connection not in case.scheduler.waiting
        expected = {"socket": case.transport.socket.fileno(), "file": "file", "offset": 3, "count": 5}
        assert case.scheduler.begun == [expected]
        case.scheduler.transfers[0].sent = 5
        case.scheduler.transfers[0].on_complete.set_result(None)
        assert await sending == (5, None)
        assert case.scheduler.stopped == []
        # There is no download any more that could be dropped.
        case.connection.abort(Abort.SHUTDOWN)
        assert case.scheduler.stopped == []
        assert case.transport.calls == ["abort"]
        case.close()

    run_still(run())


def test_nothing_is_sent_to_who_has_gone() -> None:
    async def run() -> None:
        case = Case(connected=False)
        assert await send(case) == (0, Abort.CLIENT_GONE)
        closing = Case()
        closing.transport.closing = True
        assert await send(closing) == (0, Abort.CLIENT_GONE)
        assert case.scheduler.begun == closing.scheduler.begun == []
        case.close()
        closing.close()

    run_still(run())


def test_a_download_ends_with_who_waits_for_it_and_with_its_connection() -> None:
    async def run() -> None:
        case = Case()
        case.request()
        sending = asyncio.create_task(send(case))
        await turns()
        sending.cancel()
        await turns()
        assert case.scheduler.stopped == [Abort.SHUTDOWN]
        lost = Case()
        lost.request()
        sending = asyncio.create_task(send(lost))
        await turns()
        lost.connection.connection_lost(None)
        assert await sending == (0, Abort.CLIENT_GONE)
        assert lost.inner.calls == ["made", "lost None"]
        assert lost.lost == [lost.connection]
        assert lost.connection.transport is None
        assert lost.connection.peer is None
        case.close()
        lost.close()

    run_still(run())


def test_a_connection_that_never_asked_for_anything_is_lost_too() -> None:
    def scenario(case: Case) -> None:
        case.connection.connection_lost(ConnectionResetError("x"))
        assert case.lost == [case.connection]
        assert case.connection.transport is None

    within(scenario)


def test_draining_closes_who_waits_and_lets_who_has_begun_go_on() -> None:
    def scenario(case: Case) -> None:
        now = clock().now
        case.connection.drain(now + 1)  # has just connected
        assert (case.transport.calls, case.connection.deadline) == ([], now + 1)
        assert case.connection.close_after
        later = Case()
        later.connection.drain(now + 60)
        assert later.connection.deadline == now + 10
        idle = Case()
        idle.request()
        idle.connection.finish()
        idle.connection.drain(now + 1)
        assert idle.transport.calls == ["close"]
        begun = Case()
        begun.request()
        begun.connection.finish()
        begun.connection.data_received(b"G")
        begun.connection.drain(now + 1)
        assert (begun.transport.calls, begun.connection.deadline) == ([], now + 1)
        busy = Case()
        busy.request()
        busy.connection.drain(now + 1)
        assert (busy.transport.calls, busy.connection.deadline) == ([], None)
        busy.connection.finish()
        assert busy.transport.calls == ["close"]
        for each in (later, idle, begun, busy):
            each.close()

    within(scenario)


def test_slow_is_who_takes_less_than_the_least_rate_for_so_long() -> None:
    async def run() -> None:
        case = Case()

        def mark() -> Use:
            case.connection.mark_slow(clock().now, 10.0, 100.0)
            return case.use

        assert mark() is Use.REST  # it asks for nothing
        case.request()
        await advance(9.9)
        assert mark() is Use.WORK
        await advance(0.1)
        assert mark() is Use.SLOW  # an answer from memory
        sending = asyncio.create_task(send(case))
        await turns()
        for rate, use in ((None, Use.WORK), (99.0, Use.SLOW), (100.0, Use.WORK), (0.0, Use.SLOW)):
            case.scheduler.rate = rate
            assert mark() is use
        assert case.scheduler.measured == [10.0] * 4
        sending.cancel()
        case.close()

    run_still(run())
