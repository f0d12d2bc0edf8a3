"""Diagnostics on standard error: JSON lines for a journal, readable lines for a terminal.

A JSON line is one object: ``time`` (RFC 3339, UTC, milliseconds), ``level``, ``event`` (a sentence for
people), and the event's own fields. Under systemd each line starts with the priority prefix that sd-daemon(3)
defines, so that ``journalctl -p`` works.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
# Made once: json.dumps makes one a call for these options.
_ENCODER = json.JSONEncoder(ensure_ascii=False, default=str)
_COLOUR = {logging.DEBUG: "2", logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "31;1"}


class _JsonFormatter(logging.Formatter):
    def __init__(self, *, priority: bool) -> None:
        super().__init__()
        self._priority = priority

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        text = _ENCODER.encode(line)
        return f"<{_PRIORITY.get(record.levelno, 6)}>{text}" if self._priority else text


class _HumanFormatter(logging.Formatter):
    def __init__(self, *, colour: bool, priority: bool) -> None:
        super().__init__()
        self._colour = colour
        self._priority = priority

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        fields = " ".join(f"{key}={_short(value)}" for key, value in _fields(record).items())
        if fields:
            text += f"  {fields}"
        if record.levelno != logging.INFO:
            text = f"{record.levelname.lower()}: {text}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        if self._priority:
            return f"<{_PRIORITY.get(record.levelno, 6)}>{text}"
        code = _COLOUR.get(record.levelno)
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour and code else text


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields = getattr(record, "fields", None)
    return fields if isinstance(fields, dict) else {}


def _short(value: Any) -> str:
    return value if isinstance(value, str) and value and " " not in value else json.dumps(value, default=str)


def use_colour(stream: TextIO) -> bool:
    """Colour only on a terminal, and never where NO_COLOR is set (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _goes_to_journal(stream: TextIO) -> bool:
    """Whether systemd connected this very stream to the journal: $JOURNAL_STREAM is its device and inode.

    systemd.exec(5). The variable alone says nothing: a child inherits it, with its standard error in a pipe.
    """
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def set_up(*, json_lines: bool | None = None, verbose: bool = False, stream: TextIO | None = None) -> None:
    """Set the ``ectools`` logger up to write to ``stream`` (None: standard error).

    ``json_lines`` None: JSON unless the stream is a terminal. A program that starts another hands the format
    on in its arguments, not in the environment.
    """
    stream = stream or sys.stderr
    as_json = not stream.isatty() if json_lines is None else json_lines
    handler = logging.StreamHandler(stream)
    priority = _goes_to_journal(stream)
    if as_json:
        handler.setFormatter(_JsonFormatter(priority=priority))
    else:
        handler.setFormatter(_HumanFormatter(colour=use_colour(stream), priority=priority))
    # Nobody reads these, and each costs a call for every record (logging HOWTO, "Optimization").
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    root = logging.getLogger("ectools")
    root.handlers[:] = [handler]
    root.propagate = False
    root.setLevel(logging.DEBUG if verbose else logging.INFO)


def escape(text: str) -> str:
    """Printable ASCII: what a client has sent must not steer the terminal that shows the log."""
    return text.encode("unicode_escape").decode("ascii")


def writes_json() -> bool:
    """Whether the log has been set up to write JSON lines."""
    handlers = logging.getLogger("ectools").handlers
    return any(isinstance(handler.formatter, _JsonFormatter) for handler in handlers)


class Log:
    """A logger whose events have fields: ``log.info("started", pid=7)``; ``name`` begins with ``ectools``."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, event: str, **fields: Any) -> None:
        self._write(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: Any) -> None:
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, **fields: Any) -> None:
        self._write(logging.ERROR, event, fields)

    def exception(self, event: str, error: BaseException, **fields: Any) -> None:
        """An error that is a fault of this program: its traceback stands below it."""
        self._write(logging.ERROR, event, fields, error)

    def _write(
        self, level: int, event: str, fields: dict[str, Any], error: BaseException | None = None
    ) -> None:
        """Logger.log without its look at the stack, which costs most: thousands of requests are logged."""
        logger = self._logger
        if logger.isEnabledFor(level):
            trace = None if error is None else (type(error), error, error.__traceback__)
            extra = {"fields": fields}
            logger.handle(logger.makeRecord(logger.name, level, "", 0, event, (), trace, extra=extra))
