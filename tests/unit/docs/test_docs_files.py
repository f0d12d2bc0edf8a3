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


def _colours() -> list[dict[str, str]]:
    style = (importlib.resources.files("ectools.docs.html") / "assets" / "style.css").read_text()
    blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    return [dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", block)) for block in blocks]


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_contrast() -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1 for text, in light and dark."""
    schemes = _colours()
    assert len(schemes) == 2
    for scheme in schemes:
        pairs = [*product(["text", "muted", "link"], ["page", "raised"]), ("text", "mark"), ("link", "mark")]
        for front, back in [*pairs, ("badge", "page"), ("badge", "mark")]:
            lighter, darker = sorted((_luminance(scheme[front]), _luminance(scheme[back])), reverse=True)
            assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (front, back, scheme)
