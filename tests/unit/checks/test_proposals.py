"""The proposals of the repository are well formed, and lint finds each way in which one is not."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from ectools.checks.proposals import find_proposals, lint_proposals, load_proposals, start_proposal
from ectools.errors import InputError

TODAY = date(2026, 11, 21)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    start_proposal(tmp_path, "Boot twice", today=TODAY)
    return tmp_path


def test_a_new_proposal_has_the_next_number_and_passes(directory: Path) -> None:
    second = start_proposal(directory, "Say it's *done*!", today=TODAY)
    assert second.name == "ECP-0002-say-it-s-done.md"
    assert lint_proposals(directory) == []
    assert [(p.number, p.title, p.status, p.date) for p in load_proposals(directory)] == [
        (1, "Boot twice", "draft", "2026-11-21"),
        (2, "Say it's *done*!", "draft", "2026-11-21"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "option", "line"),
    [
        ("# ECP-0001", "# ECP-0009", "title", 1),
        ("Status: draft", "Status: maybe", "status", 3),
        ("Status: draft", "Status: superseded by ECP-0042", "status", 3),
        ("Status: draft", "Status: superseded by ECP-0001", "status", 3),
        ("Date: 2026-11-21", "Date: 2026-02-30", "date", 4),
        ("- Date: 2026-11-21\n", "", "date", 1),
        ("## Decision", "## Choice", "sections", 1),
        ("## Decision\n\nTo be written.\n", "## Decision\n\n", "section", 10),
        ("To be written.", "See [it](missing.md).", "link", 8),
    ],
)
def test_lint_names_the_fault_and_its_line(
    directory: Path, old: str, new: str, option: str, line: int
) -> None:
    path = directory / "ECP-0001-boot-twice.md"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    (problem,) = lint_proposals(directory)
    assert (problem.option, problem.line, problem.file) == (option, line, str(path))


def test_lint_names_bad_file_names_and_shared_numbers(directory: Path) -> None:
    (directory / "ECP-1-Short.md").write_text("")
    (directory / "ECP-0001-another.md").write_text((directory / "ECP-0001-boot-twice.md").read_text())
    assert [problem.option for problem in lint_proposals(directory)] == ["number", "file name"]


@pytest.mark.parametrize("title", ["", "  ", "…", "two\nlines"])
def test_a_title_without_a_file_name_is_rejected(tmp_path: Path, title: str) -> None:
    with pytest.raises(InputError):
        start_proposal(tmp_path, title, today=TODAY)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_directory_and_a_binary_file_are_input_errors(directory: Path) -> None:
    with pytest.raises(InputError, match="no such directory"):
        find_proposals(directory / "nowhere")
    (directory / "ECP-0001-boot-twice.md").write_bytes(b"\xff")
    with pytest.raises(InputError, match="not UTF-8"):
        lint_proposals(directory)
