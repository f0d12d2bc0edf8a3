"""Pages on the disk, the man page to those who read man pages, and the colours of the style sheet."""

from __future__ import annotations

import importlib.resources
import os
import re
import subprocess
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.contrast import LEAST, find_colours, measure_contrast

from ectools.docs.writing import find_stale, write_directory
from ectools.files import FileError

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "docs" / "ectools-options.5"


def test_pages_are_written_and_found_stale(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "b"
    pages = {f"{number}.md": str(number).encode() for number in range(40)}
    assert [path.name for path in write_directory(directory, pages)] == list(pages)
    assert find_stale(directory, pages) == []
    (directory / "1.md").write_text("other")
    (directory / "2.md").unlink()
    (directory / "gone.md").write_text("an option that was")
    (directory / "other.txt").write_text("somebody else's")
    assert find_stale(directory, pages) == [
        f"{directory}/1.md: is not what would be written",
        f"{directory}/2.md: is missing",
        f"{directory}/gone.md: is no page of these",
    ]


def test_what_is_there_already_is_left_alone(tmp_path: Path) -> None:
    write_directory(tmp_path, {"a": b"1", "b": b"1"})
    before = {name: (tmp_path / name).stat().st_ino for name in "ab"}
    write_directory(tmp_path, {"a": b"1", "b": b"2"})
    after = {name: (tmp_path / name).stat().st_ino for name in "ab"}
    assert before["a"] == after["a"]
    assert before["b"] != after["b"]
    assert oct((tmp_path / "b").stat().st_mode)[-3:] == "644"


def test_nothing_is_left_behind_where_it_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    with pytest.raises(FileError, match="cannot be written"):
        write_directory(tmp_path, {"a": b"1", "c": b"2"})
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="cannot be written"):
        write_directory(tmp_path / "file", {"x": b""})


def test_the_man_page_is_clean(require_tool: Callable[[str, str], str]) -> None:
    man = require_tool("man", "install it (Debian: man-db)")
    argv = [man, "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", str(GOLDEN)]
    env = {**os.environ, "LC_ALL": "C.UTF-8", "MANROFFSEQ": ""}
    done = subprocess.run(argv, env=env, capture_output=True, timeout=60, check=True)
    assert done.stderr.decode() == ""


def test_the_man_page_shows_text_as_it_is(require_tool: Callable[[str, str], str]) -> None:
    man = require_tool("man", "install it (Debian: man-db)")
    env = {**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "200", "MANPAGER": "cat", "MAN_KEEP_FORMATTING": ""}
    done = subprocess.run([man, "-l", str(GOLDEN)], env=env, capture_output=True, timeout=60, check=True)
    text = re.sub(r".\x08", "", done.stdout.decode())
    for line in (
        "services.demo.mode",
        "Pattern: [a-z]+",
        "break \\ backslash 'quote' \"quotes\" - dash",
        ".indented 'code'",
        "Formerly: services.demo.bindPort, services.demo.listenPort, services.old.port",
    ):
        assert re.search(rf"^ +{re.escape(line)}$", text, re.MULTILINE), line


def test_contrast() -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1 for text, in light and dark."""
    style = importlib.resources.files("ectools.docs.html") / "assets" / "style.css"
    schemes = find_colours(style.read_text())
    assert len(schemes) == 2
    for scheme in schemes:
        pairs = [*product(["text", "muted", "link"], ["page", "raised"]), ("text", "mark"), ("link", "mark")]
        for front, back in [*pairs, ("badge", "page"), ("badge", "mark")]:
            assert measure_contrast(scheme[front], scheme[back]) >= LEAST, (front, back, scheme)
