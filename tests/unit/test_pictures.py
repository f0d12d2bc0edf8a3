"""The pictures of the documentation: well-formed, small, told in words too, with nothing from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

ROOT = Path(__file__).parents[2]
PICTURES = sorted((ROOT / "docs/images").iterdir())
DRAWINGS = [path for path in PICTURES if path.suffix == ".svg"]
SCREENSHOTS = [path for path in PICTURES if path.suffix == ".png"]
SVG = "{http://www.w3.org/2000/svg}"
# What a picture may consist of: shapes, text and one style; nothing that runs, loads or embeds.
ELEMENTS = {"svg", "title", "desc", "style", "g", "path", "rect", "circle", "text", "tspan"}


def show(path: Path) -> str:
    return path.name


@pytest.mark.parametrize("path", DRAWINGS, ids=show)
def test_a_picture_is_a_small_svg_that_needs_nothing_else(path: Path) -> None:
    text = path.read_text()
    assert len(text) < 10_000
    assert not re.search(r"<!DOCTYPE|<\?xml-stylesheet|href|@import|url\(", text)
    assert re.findall(r"https?://[^\s\"<]*", text.replace("http://192.0.2.10:8080", "")) == [SVG[1:-1]]
    root = ET.fromstring(text)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= ELEMENTS
    attributes = {name for element in root.iter() for name in element.attrib}
    assert not {name for name in attributes if name.startswith("on")}


@pytest.mark.parametrize("path", DRAWINGS, ids=show)
def test_a_picture_is_told_in_words_and_has_both_schemes(path: Path) -> None:
    root = ET.parse(path).getroot()
    named = {element.get("id"): element for element in root if element.get("id")}
    words = [named[each].text or "" for each in root.attrib["aria-labelledby"].split()]
    assert root.get("role") == "img"
    assert [element.tag for element in named.values()] == [SVG + "title", SVG + "desc"]
    assert all(words)
    assert "prefers-color-scheme: dark" in (root.findtext(f"{SVG}style") or "")


@pytest.mark.parametrize("path", DRAWINGS, ids=show)
def test_what_a_picture_shows_lies_within_it(path: Path) -> None:
    """A letter is taken for 8.4 px wide: about what DejaVu, the widest of the fonts, takes at 15 px."""
    root = ET.parse(path).getroot()
    width, height = (float(root.attrib[name]) for name in ("width", "height"))
    assert root.get("viewBox") == f"0 0 {width:g} {height:g}"
    assert width <= 440, "wider, and a phone shows its text too small to be read"
    for text in root.iter(f"{SVG}text"):
        if text.get("transform"):
            continue
        shown = "".join(text.itertext())
        half = len(shown) * 8.4 / (2 if text.get("class") != "title" else 1)
        assert 0 <= float(text.attrib["y"]) <= height
        middle = float(text.attrib["x"])
        assert middle + half <= width, shown


def read_documents() -> str:
    return "".join(path.read_text() for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")))


@pytest.mark.parametrize("path", SCREENSHOTS, ids=show)
def test_a_screenshot_is_small_says_nothing_of_its_making_and_is_told_in_words(path: Path) -> None:
    """PNG (RFC 2083, section 3): a signature, then chunks of length, name, data and checksum."""
    data = path.read_bytes()
    assert len(data) < 200_000
    at, chunks = 8, set()
    while at < len(data):
        chunks.add(data[at + 4 : at + 8])
        at += 12 + int.from_bytes(data[at : at + 4])
    assert chunks <= {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"sRGB", b"sBIT", b"pHYs"}
    (alt,) = re.findall(rf'<img src="images/{path.name}" width="\d+" alt="([^"]+)">', read_documents())
    assert len(alt) > 60


def test_each_picture_is_shown_somewhere() -> None:
    documents = read_documents()
    assert {path.suffix for path in PICTURES} == {".svg", ".png"}
    assert [path.name for path in PICTURES if f"images/{path.name}" not in documents] == []
