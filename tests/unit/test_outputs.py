from __future__ import annotations

import asyncio
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.virtual_time import run_virtually

from ectools.outputs import LINE_BYTES, TAIL_LINES, LineSplitter, Outputs, Tail, clean_line


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"plain\r", "plain"),
        (b"\x1bc\x1b[?7l\x1b[2J\x1b[0mSeaBIOS (version 1)\r", "SeaBIOS (version 1)"),
        (b"\x1b[0;1miPXE 1.0.0\x1b[0m -- \x1b[0;36mhttp", "iPXE 1.0.0 -- http"),
        (b"12%\x08\x08\x08ok", "ok"),
        (b"Press Ctrl-B...\r               \r", ""),
        (b"first\rsecond", "second"),
        (b"\x1b]0;title\x07text", "text"),
        (b"tab\tstays", "tab\tstays"),
        (b"bell\x07 \xff\xc3\xa9", "bell \N{REPLACEMENT CHARACTER}é"),
        (b"\x08\x08a", "a"),
    ],
)
def test_a_line_is_what_a_terminal_would_show(raw: bytes, shown: str) -> None:
    assert clean_line(raw) == shown


@given(st.binary(max_size=300).filter(lambda raw: b"\n" not in raw))
def test_no_line_controls_a_terminal(raw: bytes) -> None:
    assert not any(ord(char) < 0x20 and char != "\t" for char in clean_line(raw))


def test_secrets_do_not_pass() -> None:
    assert clean_line(b"http://a/x?token=a%20b and a b", secrets=("a%20b", "a b")) == (
        "http://a/x?token=*** and ***"
    )


@given(st.lists(st.binary(max_size=40).filter(lambda line: b"\n" not in line)), st.integers(1, 17))
def test_lines_do_not_depend_on_how_they_arrive(lines: list[bytes], size: int) -> None:
    data = b"\n".join(lines)
    splitter = LineSplitter()
    got = [line for start in range(0, len(data), size) for line in splitter.feed(data[start : start + size])]
    assert [*got, *splitter.finish()] == [*lines[:-1], *([lines[-1]] if lines and lines[-1] else [])]


def test_a_line_without_end_is_bounded() -> None:
    splitter = LineSplitter()
    got = splitter.feed(b"x" * (3 * LINE_BYTES + 1)) + splitter.finish()
    assert max(map(len, got)) == LINE_BYTES
    assert b"".join(got) == b"x" * (3 * LINE_BYTES + 1)


def test_the_tail_keeps_the_last_lines() -> None:
    tail = Tail()
    for number in range(TAIL_LINES + 5):
        tail.add(str(number))
    assert tail.lines()[0] == "5"
    assert len(tail.lines()) == TAIL_LINES


def test_an_output_is_read_to_its_end_and_blank_lines_are_left_out() -> None:
    async def scenario() -> list[str]:
        lines: list[str] = []
        outputs = Outputs(secrets=("t0ken",))
        descriptor = await outputs.add(lines.append)
        for part in (b"one\r\n\r\n\x1b[2J\ntw", b"o t0ken\nthree"):
            os.write(descriptor, part)
            await asyncio.sleep(0)
        outputs.release()
        await outputs.finish(seconds=60)
        return lines

    assert asyncio.run(scenario()) == ["one", "two ***", "three"]


def test_an_output_that_somebody_else_holds_open_is_left_after_its_time() -> None:
    async def scenario() -> list[str]:
        lines: list[str] = []
        outputs = Outputs()
        held = os.dup(await outputs.add(lines.append))
        os.write(held, b"said\nunfinished")
        await outputs.finish(seconds=0.3)
        os.close(held)
        return lines

    assert asyncio.run(scenario()) == ["said"]


def test_an_output_is_read_on_whatever_its_reader_raises() -> None:
    """More than a pipe holds: a child whose output nobody reads waits in write(2) for ever."""
    lines: list[str] = []

    def take(line: str) -> None:
        lines.append(line)
        raise KeyError(line)

    async def scenario() -> None:
        outputs = Outputs()
        descriptor = await outputs.add(take)
        with os.fdopen(os.dup(descriptor), "wb") as file:
            await asyncio.to_thread(file.write, b"a line of sixteen\n" * 20_000)
            await asyncio.to_thread(file.flush)
        await outputs.finish(seconds=60)

    asyncio.run(asyncio.wait_for(scenario(), 60))
    assert len(lines) == 20_000


def test_a_pipe_that_cannot_be_listened_to_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async def fail(*_: object) -> None:
            raise OSError(28, "No space left on device")  # epoll_ctl(2): max_user_watches

        monkeypatch.setattr(asyncio.get_running_loop(), "connect_read_pipe", fail)
        before = os.listdir("/proc/self/fd")
        outputs = Outputs()
        with pytest.raises(OSError, match="No space") as caught:
            await outputs.add(print)
        outputs.release()
        assert os.listdir("/proc/self/fd") == before
        del caught  # until here it keeps the file, which would be closed when nobody has it

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("size", "pieces"),
    [
        (LINE_BYTES - 1, [LINE_BYTES - 1]),
        (LINE_BYTES, [LINE_BYTES]),
        (LINE_BYTES + 1, [LINE_BYTES, 1]),
        (2 * LINE_BYTES, [LINE_BYTES, LINE_BYTES]),
    ],
)
def test_a_line_is_cut_at_its_limit_and_not_before(size: int, pieces: list[int]) -> None:
    line = b"x" * size
    assert [len(piece) for piece in LineSplitter().feed(line + b"\n")] == pieces
    splitter = LineSplitter()
    assert [len(piece) for piece in [*splitter.feed(line), *splitter.finish()]] == pieces
    assert splitter.finish() == []


def test_an_empty_line_is_a_line_and_an_empty_end_is_none() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"\n\na") == [b"", b""]
    assert splitter.feed(b"b\n") == [b"ab"]
    assert splitter.finish() == []


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"a  \t ", "a"),
        (b"  a", "  a"),
        (b"ab\x08", "a"),
        (b"one\rtwo\r\r", "two"),
        (b"\r\r", ""),
        (b"a\x1b", "a"),
        (b"\x1b(Ba", "a"),
        (b"\x1b[1;2 qa", "a"),
        (b"\x1b]0;title\x1b\\a", "a"),
        (b"\x1b]0;title without an end", ""),
        ("a\x85b\x9fc".encode(), "abc"),
        ("\xa0é".encode(), "\xa0é"),
    ],
)
def test_further_lines_as_a_terminal_would_show_them(raw: bytes, shown: str) -> None:
    assert clean_line(raw) == shown


def test_what_was_written_is_taken_in_twenty_times_a_second() -> None:
    """A serial port is written byte by byte."""

    async def scenario() -> tuple[list[str], int]:
        lines: list[str] = []
        outputs = Outputs()
        reads = 0
        read = asyncio.StreamReader.read

        async def count(self: asyncio.StreamReader, size: int = -1) -> bytes:
            nonlocal reads
            reads += 1
            return await read(self, size)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(asyncio.StreamReader, "read", count)
            descriptor = await outputs.add(lines.append)
            for _ in range(100):
                os.write(descriptor, b"byte\n")
                await asyncio.sleep(0.01)
            await outputs.finish(seconds=60)
        return lines, reads

    lines, reads = run_virtually(scenario())
    assert lines == ["byte"] * 100
    assert 15 <= reads <= 25


def test_the_end_is_waited_for_only_so_long() -> None:
    async def scenario() -> float:
        loop = asyncio.get_running_loop()
        outputs = Outputs()
        held = os.dup(await outputs.add(print))
        other = os.dup(await outputs.add(print))
        os.close(other)
        began = loop.time()
        await outputs.finish(seconds=3)
        ended = loop.time() - began
        await outputs.finish(seconds=3)  # nothing is left
        assert loop.time() - began - ended < 1
        os.close(held)
        return ended

    assert 3 <= run_virtually(scenario()) < 3.5


def test_no_output_has_nothing_to_finish() -> None:
    async def scenario() -> None:
        outputs = Outputs()
        outputs.release()
        await outputs.finish(seconds=3)

    run_virtually(scenario())


def test_a_line_that_its_reader_rejects_is_a_fault_of_this_program(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        outputs = Outputs()
        descriptor = await outputs.add(lambda _: 1 / 0)
        os.write(descriptor, b"line\n")
        await outputs.finish(seconds=3)

    run_virtually(scenario())
    (record,) = caplog.records
    assert record.__dict__["fields"]["where"] == "a line of a child's output"
