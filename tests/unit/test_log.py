"""Log lines: JSON for a journal, readable for a terminal, priorities only where systemd reads them."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ectools import log

PROGRAM = "from ectools import log; log.set_up(); log.Log('ectools.x').warning('an event', answer=42)"


def talk(stderr: Path, **env: str) -> str:
    """What the program above writes to a file as its standard error."""
    with stderr.open("wb") as stream:
        subprocess.run(
            [sys.executable, "-c", PROGRAM], env={**os.environ, **env}, stderr=stream, check=True, timeout=60
        )
    return stderr.read_text()


def test_json_lines_have_time_level_event_and_fields(tmp_path: Path) -> None:
    line = json.loads(talk(tmp_path / "log"))
    assert line.pop("time").endswith("Z")
    assert line == {"level": "warning", "event": "an event", "answer": 42}


def test_priorities_are_for_the_stream_that_systemd_connected_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.touch()
    status = path.stat()
    assert talk(path, JOURNAL_STREAM=f"{status.st_dev}:{status.st_ino}").startswith('<4>{"time"')
    # What a child inherits whose standard error is a pipe of its parent's.
    assert talk(path, JOURNAL_STREAM=f"{status.st_dev}:{status.st_ino + 1}").startswith('{"time"')


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
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert log.use_colour(Terminal())
    monkeypatch.setenv("NO_COLOR", value)
    assert not log.use_colour(Terminal())
    monkeypatch.delenv("NO_COLOR")
    assert not log.use_colour(io.StringIO())
