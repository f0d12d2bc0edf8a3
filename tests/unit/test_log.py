"""Log lines: JSON for a journal, readable for a terminal, priorities only where systemd reads them."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ectools import log

if TYPE_CHECKING:
    pass

PROGRAM = "from ectools import log; log.set_up(); log.Log('ectools.x').warning('an event', answer=42)"


def write_line(stderr: Path, **env: str) -> str:
    """What the program above writes to a file as its standard error."""
    with stderr.open("wb") as stream:
        subprocess.run(
            [sys.executable, "-c", PROGRAM], env={**os.environ, **env}, stderr=stream, check=True, timeout=60
        )
    return stderr.read_text()


def test_json_lines_have_time_level_event_and_fields(tmp_path: Path) -> None:
    line = json.loads(write_line(tmp_path / "log"))
    assert line.pop("time").endswith("Z")
    assert line == {"level": "warning", "event": "an event", "answer": 42}


def test_priorities_are_for_the_stream_that_systemd_connected_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.touch()
    status = path.stat()
    assert write_line(path, JOURNAL_STREAM=f"{status.st_dev}:{status.st_ino}").startswith('<4>{"time"')
    # What a child inherits whose standard error is a pipe of its parent's.
    assert write_line(path, JOURNAL_STREAM=f"{status.st_dev}:{status.st_ino + 1}").startswith('{"time"')


def test_readable_lines_name_the_level_and_quote_what_has_blanks() -> None:
    stream = io.StringIO()
    log.set_up(json_lines=False, stream=stream)
    logger = log.Log("ectools.test")
    logger.info("made", path="/a b", size=3)
    logger.error("broke")
    logger.debug("not shown")
    assert stream.getvalue() == 'made  path="/a b" size=3\nerror: broke\n'


@pytest.mark.parametrize("value", ["1", "yes"])
def test_no_color_wins_over_a_terminal(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert log.use_colour(Terminal())
    monkeypatch.setenv("NO_COLOR", value)
    assert not log.use_colour(Terminal())
    monkeypatch.delenv("NO_COLOR")
    assert not log.use_colour(io.StringIO())


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines_of(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def raise_and_log(logger: log.Log) -> None:
    try:
        raise LookupError("a fault")
    except LookupError as error:
        logger.exception("it broke", error, where="here")  # noqa: PLE1205 - not logging's


def test_a_json_line_has_its_moment_and_what_json_cannot_say_as_text() -> None:
    stream = io.StringIO()
    log.set_up(json_lines=True, stream=stream)
    before = datetime.now(UTC)
    log.Log("ectools.test").info("é", path=Path("/a"), event2=None)
    assert "é" in stream.getvalue()
    (line,) = lines_of(stream)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(line["time"]))
    moment = datetime.fromisoformat(str(line["time"]))
    assert before - timedelta(milliseconds=1) <= moment <= datetime.now(UTC)
    assert list(line) == ["time", "level", "event", "path", "event2"]
    assert (line["path"], line["event2"]) == ("/a", None)


def test_a_fault_has_its_traceback_in_json_and_below_a_readable_line() -> None:
    stream = io.StringIO()
    log.set_up(json_lines=True, stream=stream)
    raise_and_log(log.Log("ectools.test"))
    (line,) = lines_of(stream)
    assert (line["level"], line["event"], line["where"]) == ("error", "it broke", "here")
    assert str(line["traceback"]).startswith("Traceback (most recent call last)")
    assert str(line["traceback"]).endswith("LookupError: a fault")
    stream = io.StringIO()
    log.set_up(json_lines=False, stream=stream)
    raise_and_log(log.Log("ectools.test"))
    first, second, *_, last = stream.getvalue().splitlines()
    assert (first, second) == ("error: it broke  where=here", "Traceback (most recent call last):")
    assert last == "LookupError: a fault"


def test_a_line_without_a_fault_has_no_traceback() -> None:
    stream = io.StringIO()
    log.set_up(json_lines=True, stream=stream)
    log.Log("ectools.test").error("an error")
    (line,) = lines_of(stream)
    assert "traceback" not in line


@pytest.mark.parametrize(
    ("method", "priority", "colour"),
    [("debug", 7, "2"), ("info", 6, None), ("warning", 4, "33"), ("error", 3, "31")],
)
def test_each_level_has_its_priority_and_its_colour(
    method: str, priority: int, colour: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with (tmp_path / "log").open("w+") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        log.set_up(verbose=True, stream=stream)
        getattr(log.Log("ectools.test"), method)("an event")
        stream.seek(0)
        assert stream.read().startswith(f"<{priority}>{{")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    log.set_up(verbose=True, stream=terminal)
    getattr(log.Log("ectools.test"), method)("an event")
    text = "an event" if method == "info" else f"{method}: an event"
    assert terminal.getvalue() == (f"\x1b[{colour}m{text}\x1b[0m\n" if colour else f"{text}\n")


def test_other_loggers_and_levels_of_other_libraries(tmp_path: Path) -> None:
    stream = io.StringIO()
    log.set_up(json_lines=True, stream=stream)
    logging.getLogger("ectools.other").critical("a %s", "word")
    logging.getLogger("ectools.other").log(35, "between")
    logging.getLogger("elsewhere").error("not ours")
    assert [(line["level"], line["event"]) for line in lines_of(stream)] == [
        ("critical", "a word"),
        ("level 35", "between"),
    ]


@pytest.mark.parametrize("verbose", [False, True])
def test_details_are_for_those_who_ask(verbose: bool) -> None:
    stream = io.StringIO()
    log.set_up(json_lines=False, verbose=verbose, stream=stream)
    log.Log("ectools.test").debug("a detail")
    assert stream.getvalue() == ("debug: a detail\n" if verbose else "")


def test_a_second_set_up_replaces_the_first_and_nothing_goes_further() -> None:
    first, second = io.StringIO(), io.StringIO()
    log.set_up(stream=first)
    log.set_up(stream=second)
    assert logging.getLogger("ectools").propagate is False
    log.Log("ectools.test").info("once")
    assert first.getvalue() == ""
    assert len(lines_of(second)) == 1


@pytest.mark.parametrize("json_lines", [None, True, False])
def test_a_terminal_gets_readable_lines_unless_json_is_asked_for(json_lines: bool | None) -> None:
    terminal = Terminal()
    log.set_up(json_lines=json_lines, stream=terminal)
    log.Log("ectools.test").info("an event")
    assert terminal.getvalue().startswith("{") is bool(json_lines)


def test_standard_error_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    log.set_up(json_lines=False)
    log.Log("ectools.test").info("an event")
    assert capsys.readouterr().err == "an event\n"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a", "a"),
        ("a b", '"a b"'),
        ("", '""'),
        (None, "null"),
        (1.5, "1.5"),
        (Path("/a"), '"/a"'),
        (["a"], '["a"]'),
    ],
)
def test_readable_values(value: object, shown: str) -> None:
    stream = io.StringIO()
    log.set_up(json_lines=False, stream=stream)
    log.Log("ectools.test").info("e", key=value, other=1)
    assert stream.getvalue() == f"e  key={shown} other=1\n"


@pytest.mark.parametrize(("term", "coloured"), [("xterm", True), ("dumb", False), (None, True)])
def test_a_dumb_terminal_has_no_colour(
    term: str | None, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    if term is None:
        monkeypatch.delenv("TERM", raising=False)
    else:
        monkeypatch.setenv("TERM", term)
    assert log.use_colour(Terminal()) is coloured
