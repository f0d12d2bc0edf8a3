from __future__ import annotations

import asyncio
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
