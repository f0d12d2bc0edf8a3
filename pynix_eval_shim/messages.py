"""Nix's standard error: errors, warnings, notes and logs of builds, from its lines.

With ``--log-format internal-json`` (JSONLogger in Nix's src/libutil/logging.cc; no manual has it) a line is
``@nix `` and one object. ``action`` is ``msg`` (``level``, ``msg``; an error also has ``raw_msg``, ``file``,
``line``, ``column`` and, with ``--show-trace``, ``trace``), ``start`` and ``stop`` of an activity, or its
``result``. Anything else (crashes, the garbage collector, old commands) is plain text.
"""

from __future__ import annotations

import json
import re
from collections import deque
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from pynix_eval_shim.errors import Frame
from pynix_eval_shim.process import STDERR_KEPT

if TYPE_CHECKING:
    from collections.abc import Callable

    from pynix_eval_shim.source import PositionMap

_PREFIX = "@nix "
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|.)")
_FILLED_IN = "\x1b[35;1m"
_WARNS = re.compile(r"^(?:evaluation )?warning: ")
_ERROR, _WARNING = 0, 1
_BUILD_ACTIVITY, _BUILD_LOG_LINE = 105, 101
# Of all copies, and of all builds; their numbers are a result of the kind _PROGRESS.
_COPIES_ACTIVITY, _BUILDS_ACTIVITY, _PROGRESS = 103, 104, 105
_THIS_MACHINE = "local"  # what Lix calls it; Nix leaves the field empty
_FRAMES_KEPT = 100
_LOG_LINES_KEPT = 50


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One error that nix reported.

    ``marked`` says whether nix coloured part of the message: it colours what it filled in, and not what a
    user's ``throw`` wrote. ``placed`` says whether nix itself gave the error a position.
    """

    message: str
    marked: bool = False
    placed: bool = False
    file: str | None = None
    line: int | None = None
    column: int | None = None
    trace: tuple[Frame, ...] = ()


class NixMessageKind(StrEnum):
    """What prints a message: ``lib.warn`` or nix's own warnings, and ``builtins.trace``."""

    TRACE = "trace"
    WARNING = "warning"


@dataclass(frozen=True, kw_only=True)
class NixMessage:
    """What an evaluation printed beside its value. ``text`` has neither colour nor the kind before it."""

    kind: NixMessageKind
    text: str


@dataclass
class Diagnostics:
    """All that one nix reported. ``logs`` maps a derivation to the last 50 lines of its builder.

    ``said`` are what the evaluated code itself printed, in its order. ``text`` is the readable form of all of
    it, its last 64 KiB.
    """

    faults: list[Fault] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    logs: dict[str, deque[str]] = field(default_factory=dict)
    said: list[NixMessage] = field(default_factory=list)
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class BuildEvent:
    """A step of a build: ``line`` is what its builder wrote, without colour, or None where the build began.

    ``machine`` is the address of the builder's machine where that is another one, else empty.
    """

    drv: str
    line: str | None = None
    machine: str = ""


@dataclass(frozen=True, kw_only=True)
class BuildProgress:
    """How many derivations are built and paths copied, of those that have to be.

    Nix counts as it finds out: the numbers to come grow in the beginning.
    """

    built: int = 0
    to_build: int = 0
    copied: int = 0
    to_copy: int = 0


class Follower:
    """A reporter of builds while nix runs: standard error in, in pieces of any length, BuildEvents out.

    ``progress`` is called each time that the numbers of all builds and copies have changed.
    """

    def __init__(
        self, report: Callable[[BuildEvent], None], *, progress: Callable[[BuildProgress], None] | None = None
    ) -> None:
        self._report = report
        self._report_progress = progress
        self._builds: dict[int, tuple[str, str]] = {}
        self._counts: dict[int, tuple[str, str]] = {}
        self._progress = BuildProgress()
        self._rest = b""

    def feed(self, chunk: bytes) -> None:
        """Report each event of a build in the lines that ``chunk`` completes."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            event = _event(line.decode("utf-8", "replace"))
            if event is None:
                continue
            kind = (event.get("action"), event.get("type"))
            if kind == ("start", _BUILDS_ACTIVITY):
                self._counts[event.get("id", 0)] = ("built", "to_build")
            elif kind == ("start", _COPIES_ACTIVITY):
                self._counts[event.get("id", 0)] = ("copied", "to_copy")
            fields = event.get("fields")
            if not isinstance(fields, list) or not fields:
                continue
            if kind == ("result", _PROGRESS):
                self._count(event.get("id", 0), fields)
            elif kind == ("start", _BUILD_ACTIVITY):
                drv, machine = str(fields[0]), str(fields[1]) if len(fields) > 1 else ""
                machine = "" if machine == _THIS_MACHINE else machine
                self._builds[event.get("id", 0)] = (drv, machine)
                self._report(BuildEvent(drv=drv, machine=machine))
            elif kind == ("result", _BUILD_LOG_LINE):
                drv, machine = self._builds.get(event.get("id", 0), ("", ""))
                self._report(BuildEvent(drv=drv, line=strip_ansi(str(fields[0])), machine=machine))

    def _count(self, activity: int, fields: list[Any]) -> None:
        """Take in ``[done, expected, running, failed]`` of an activity that counts."""
        names = self._counts.get(activity)
        if names is None or len(fields) < len(names) or not all(isinstance(each, int) for each in fields[:2]):
            return
        progress = replace(self._progress, **dict(zip(names, fields, strict=False)))
        if progress != self._progress:
            self._progress = progress
            if self._report_progress is not None:
                self._report_progress(progress)


def strip_ansi(text: str) -> str:
    """``text`` without terminal control sequences."""
    return _ANSI.sub("", text)


def parse_messages(stderr: bytes, sources: PositionMap) -> Diagnostics:
    """The diagnostics in all of standard error; positions are mapped to the caller's code by ``sources``."""
    diagnostics = Diagnostics()
    readable: list[str] = []
    builds: dict[int, str] = {}
    # Not splitlines: what ends a line for it, U+2028 and the like, stands within nix's JSON as it is.
    for line in stderr.decode("utf-8", "replace").split("\n"):
        event = _event(line)
        if event is None:
            readable.append(strip_ansi(line))
        elif event.get("action") == "msg":
            readable.append(strip_ansi(str(event.get("msg", ""))))
            _take_message(diagnostics, event, sources)
        else:
            _take_activity(diagnostics, event, builds)
    diagnostics.text = "\n".join(readable)[-STDERR_KEPT:]
    if not diagnostics.faults:
        diagnostics.faults = _plain_faults(readable)
    return diagnostics


def _event(line: str) -> dict[str, Any] | None:
    if not line.startswith(_PREFIX):
        return None
    try:
        event = json.loads(line.removeprefix(_PREFIX))
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def _take_message(diagnostics: Diagnostics, event: dict[str, Any], sources: PositionMap) -> None:
    text = strip_ansi(str(event.get("msg", "")))
    if event.get("level") == _ERROR and "raw_msg" in event:
        diagnostics.faults.append(_fault(event, sources))
    elif text.startswith(("warning: ", "evaluation warning: ")) or event.get("level") == _WARNING:
        diagnostics.warnings.append(text.removeprefix("warning: "))
        diagnostics.said.append(_said(text, NixMessageKind.WARNING))
    elif event.get("level") == _ERROR and not text.startswith("error: "):
        # What builtins.trace prints, above all.
        diagnostics.notes.append(text)
        diagnostics.said.append(_said(text, NixMessageKind.TRACE))


def _said(text: str, kind: NixMessageKind) -> NixMessage:
    text = text.removeprefix("trace: ")
    # Before nix had a warning of its own (2.23), lib.warn printed its words as a trace.
    plain = _WARNS.sub("", text)
    return NixMessage(kind=kind if plain == text else NixMessageKind.WARNING, text=plain)


def _fault(event: dict[str, Any], sources: PositionMap) -> Fault:
    raw = str(event["raw_msg"])
    own = _position(event, sources)
    frames = []
    for item in event.get("trace") or ():
        position = _position(item, sources)
        if position is _OURS:
            continue
        file, line, column = position or (None, None, None)
        frames.append(
            Frame(message=strip_ansi(str(item.get("raw_msg", ""))), file=file, line=line, column=column)
        )
    # Without a position of its own (a throw has none), an error stands where its innermost frame does.
    if own is None or own is _OURS:
        nearest = next(
            ((each.file, each.line, each.column) for each in frames if each.file), (None, None, None)
        )
    else:
        nearest = own
    return Fault(
        message=strip_ansi(raw).strip(),
        marked=_FILLED_IN in raw,
        placed=own is not None,
        file=nearest[0],
        line=nearest[1],
        column=nearest[2],
        trace=tuple(frames[:_FRAMES_KEPT]),
    )


_OURS = ("", 0, 0)
"""A position in text that the shim wrote."""


def _position(item: dict[str, Any], sources: PositionMap) -> tuple[str, int, int] | None:
    """The position of an error or a frame: None without one, ``_OURS`` in the shim's text."""
    file, line, column = item.get("file"), item.get("line"), item.get("column")
    if not isinstance(file, str) or not isinstance(line, int) or not isinstance(column, int) or line < 1:
        return None
    # From 2.20 on the file's name carries the line and the column too.
    return sources.place(file.removesuffix(f":{line}:{column}"), line, column) or _OURS


def _take_activity(diagnostics: Diagnostics, event: dict[str, Any], builds: dict[int, str]) -> None:
    fields = event.get("fields")
    if not isinstance(fields, list) or not fields:
        return
    if event.get("action") == "start" and event.get("type") == _BUILD_ACTIVITY:
        builds[event.get("id", 0)] = str(fields[0])
    elif event.get("action") == "result" and event.get("type") == _BUILD_LOG_LINE:
        drv = builds.get(event.get("id", 0), "")
        log = diagnostics.logs.setdefault(drv, deque(maxlen=_LOG_LINES_KEPT))
        log.append(strip_ansi(str(fields[0])))


def _plain_faults(lines: list[str]) -> list[Fault]:
    """The errors of a nix that printed text: its crash handlers do, and so do bad usage and old commands."""
    return [
        Fault(message=line.lstrip().removeprefix("error:").strip(), marked=True, placed=True)
        for line in lines
        if line.lstrip().startswith("error:") and line.strip() != "error:"
    ]
