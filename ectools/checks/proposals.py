"""``evolution/proposals``: decisions in writing, one Markdown file each, in one form that can be checked.

The form of ``ECP-NNNN-some-title.md``::

    # ECP-NNNN: Some title

    - Status: draft | accepted | implemented | superseded by ECP-MMMM | withdrawn
    - Date: YYYY-MM-DD

    ## Context
    ## Decision
    ## Alternatives
    ## Rollout and teardown
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from ectools.errors import InputError, Problem
from ectools.files import read_bytes, write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SECTIONS = ("Context", "Decision", "Alternatives", "Rollout and teardown")
STATUSES = ("draft", "accepted", "implemented", "withdrawn")

_FILE = re.compile(r"ECP-(\d{4})-[a-z0-9]+(?:-[a-z0-9]+)*\.md")
_TITLE = re.compile(r"# ECP-(\d{4}): (\S.*)")
_FIELD = re.compile(r"- (Status|Date): (.*)")
_SUPERSEDED = re.compile(r"superseded by ECP-(\d{4})")
_LINK = re.compile(r"\]\((?![a-z]+:|#)([^)#\s]+)")


@dataclass(frozen=True)
class Proposal:
    """What ``list`` shows of one proposal. ``status`` and ``date`` are as written; ``lint`` checks them."""

    number: int
    title: str
    status: str
    date: str
    path: Path


def find_proposals(directory: Path) -> list[Path]:
    """The Markdown files of ``directory`` by name, but for its README. InputError where there is none."""
    if not directory.is_dir():
        raise InputError(
            f"{directory}: no such directory", hint="run this at the top of the repository, or pass --dir"
        )
    return sorted(path for path in directory.glob("*.md") if path.name != "README.md")


def load_proposals(directory: Path) -> list[Proposal]:
    """Every file that has a proposal's name, in the order of their numbers."""
    found = []
    for path in find_proposals(directory):
        if match := _FILE.fullmatch(path.name):
            lines = _read_lines(path)
            title = _TITLE.fullmatch(lines[0]) if lines else None
            fields = {name: value for name, (_, value) in _find_fields(lines).items()}
            found.append(
                Proposal(
                    int(match[1]),
                    title[2] if title else path.stem,
                    fields.get("Status", "?"),
                    fields.get("Date", "?"),
                    path,
                )
            )
    return found


def lint_proposals(directory: Path) -> list[Problem]:
    """Everything that is wrong with the proposals of ``directory``, file by file, with lines."""
    paths = find_proposals(directory)
    numbers: dict[str, Path] = {}
    problems: list[Problem] = []
    for path in paths:
        match = _FILE.fullmatch(path.name)
        if match is None:
            problems.append(
                _problem(path, 1, "file name", path.name, "ECP-NNNN-words-of-the-title.md, in lower case")
            )
            continue
        if match[1] in numbers:
            problems.append(
                _problem(
                    path, 1, "number", match[1], f"a number of its own; {numbers[match[1]].name} has this one"
                )
            )
        numbers.setdefault(match[1], path)
    for path in paths:
        if match := _FILE.fullmatch(path.name):
            problems.extend(_lint_one(path, match[1], numbers))
    return problems


def _lint_one(path: Path, number: str, numbers: Iterable[str]) -> list[Problem]:
    lines = _read_lines(path)
    problems = []
    title = _TITLE.fullmatch(lines[0]) if lines else None
    if title is None or title[1] != number:
        problems.append(_problem(path, 1, "title", lines[0] if lines else "", f"# ECP-{number}: …"))
    problems += _lint_fields(path, lines, number, numbers)
    problems += _lint_sections(path, lines)
    for index, line in enumerate(lines, 1):
        for target in _LINK.findall(line):
            if not (path.parent / target).exists():
                problems.append(
                    _problem(path, index, "link", target, "a path that exists, from the proposal's directory")
                )
    return problems


def _find_fields(lines: list[str]) -> dict[str, tuple[int, str]]:
    """Name → (line, value) of the first Status and the first Date."""
    fields: dict[str, tuple[int, str]] = {}
    for index, line in enumerate(lines, 1):
        if match := _FIELD.fullmatch(line):
            fields.setdefault(match[1], (index, match[2]))
    return fields


def _lint_fields(path: Path, lines: list[str], number: str, numbers: Iterable[str]) -> list[Problem]:
    fields = _find_fields(lines)
    line, status = fields.get("Status", (1, ""))
    superseded = _SUPERSEDED.fullmatch(status)
    problems = []
    if superseded is not None and (superseded[1] == number or superseded[1] not in numbers):
        problems.append(_problem(path, line, "status", status, "the number of another proposal here"))
    if superseded is None and status not in STATUSES:
        expected = f"{', '.join(STATUSES)}, or superseded by ECP-NNNN"
        problems.append(_problem(path, line, "status", status, expected))
    line, written = fields.get("Date", (1, ""))
    try:
        date.fromisoformat(written)
    except ValueError:
        problems.append(_problem(path, line, "date", written, "YYYY-MM-DD, a day that exists"))
    return problems


def _lint_sections(path: Path, lines: list[str]) -> list[Problem]:
    headings = [(index, line[3:].strip()) for index, line in enumerate(lines) if line.startswith("## ")]
    names = [name for _, name in headings]
    if tuple(name for name in names if name in SECTIONS) != SECTIONS:
        return [
            _problem(
                path, 1, "sections", ", ".join(names), f"each once, in this order: {', '.join(SECTIONS)}"
            )
        ]
    problems = []
    ends = [index for index, _ in headings[1:]] + [len(lines)]
    for (start, name), end in zip(headings, ends, strict=True):
        if name in SECTIONS and not "".join(lines[start + 1 : end]).strip():
            problems.append(_problem(path, start + 1, "section", name, "some text"))
    return problems


def start_proposal(directory: Path, title: str, *, today: date) -> Path:
    """Write a draft with the next free number and return its path.

    Raises InputError for a title that yields no file name.
    """
    slug = "-".join(re.findall(r"[a-z0-9]+", title.lower()))
    if not slug or "\n" in title:
        raise InputError(f"title {title!r}: a file name needs letters or digits, on one line")
    taken = [proposal.number for proposal in load_proposals(directory)]
    number = f"{max(taken, default=0) + 1:04}"
    sections = "".join(f"\n## {name}\n\nTo be written.\n" for name in SECTIONS)
    path = directory / f"ECP-{number}-{slug[:80].rstrip('-')}.md"
    text = f"# ECP-{number}: {title.strip()}\n\n- Status: draft\n- Date: {today.isoformat()}\n{sections}"
    write_atomic(path, text.encode())
    return path


def _read_lines(path: Path) -> list[str]:
    try:
        return read_bytes(path).decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}") from error


def _problem(path: Path, line: int, what: str, value: str, expected: str) -> Problem:
    return Problem(
        option=what,
        message=f"got {value!r}" if value else "missing",
        value=value,
        expected=expected,
        file=str(path),
        line=line,
    )
