"""Why options could not be evaluated: Nix's own words, with the place and the nearest steps of the trace."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from ectools.options.dump import Dump
    from pynix_eval_shim import NixError

_MESSAGE = 300  # characters: the module system prints whole values into some
_FRAMES = 4
_NOTES = 8
OWN_NOTE = "ectools-"
"""What begins a step that ``request`` had put into the trace."""
_CALL = "from call site"  # Nix's own, of code that has no place


@dataclass(frozen=True)
class Step:
    """A step of Nix's trace, or the error itself: its words and, where it has one, its place."""

    message: str
    file: str | None = None
    line: int | None = None


@dataclass(frozen=True)
class Cause:
    """What Nix said of a field that it could not evaluate. ``trace`` starts at the error."""

    error: Step
    trace: tuple[Step, ...] = ()


@dataclass(frozen=True)
class BrokenOption:
    """An option of a dump with fields that could not be evaluated.

    ``record`` is its own record in the dump, ``id`` the location by which nix/lib names it, and ``index`` the
    place in its tree of the option that it is, or is within.
    """

    record: dict[str, Any]
    id: str
    parts: tuple[str, ...]
    index: int

    def note(self, causes: Mapping[tuple[str, str], Cause]) -> None:
        """Put what is known into the record, below ``causes``: a Cause for each part that has one."""
        known = {part: causes[self.id, part] for part in self.parts if (self.id, part) in causes}
        if known:
            self.record["causes"] = known


def find_cause(error: NixError, *, library: Path) -> Cause:
    """The cause that an error of Nix tells, shortened; what led into ``library`` is cut off."""
    own = f"{library}/"
    inner = itertools.takewhile(lambda frame: not (frame.file or "").startswith(own), error.trace)
    steps = [Step(_shorten(frame.message), frame.file, frame.line) for frame in inner if frame.file]
    is_ours = (error.file or own).startswith(own)
    place = (None, None) if is_ours else (error.file, error.line)
    return Cause(Step(_shorten(error.message), *place), tuple(steps[:_FRAMES]))


def find_notes(error: NixError) -> tuple[str, ...]:
    """What the modules say of where they were, innermost first: the steps that have no place.

    Where showing a definition fails, the module system was in the middle of a message of its own: the error
    says nothing of what is wrong then, and the steps do.
    """
    notes = (
        _shorten(frame.message)
        for frame in error.trace
        if frame.file is None and not frame.message.startswith((OWN_NOTE, _CALL))
    )
    return tuple(dict.fromkeys(notes))[:_NOTES]


def find_broken(dump: Dump) -> list[BrokenOption]:
    """Every broken option of a dump, those within submodules too, in the order of the dump."""
    return [
        broken
        for tree in dump.trees
        for index, option in enumerate(tree.options)
        for broken in _walk(option, index)
    ]


def _walk(value: Any, index: int) -> Iterator[BrokenOption]:
    if isinstance(value, dict):
        if value.get("broken") and "id" in value:
            yield BrokenOption(value, value["id"], tuple(value["broken"]), index)
        # A type holds the options of its submodules; what else a record holds are values.
        for name, inner in value.items():
            if name in _HOLDERS:
                yield from _walk(inner, index)
            elif name == "nested":
                yield from _walk(list(inner.values()), index)
    elif isinstance(value, list):
        for inner in value:
            yield from _walk(inner, index)


_HOLDERS = {"type", "elem", "left", "right", "from", "to", "freeform", "options", "inside"}


def _shorten(message: str) -> str:
    text = " ".join(message.split())
    return text if len(text) <= _MESSAGE else f"{text[: _MESSAGE - 1]}…"
