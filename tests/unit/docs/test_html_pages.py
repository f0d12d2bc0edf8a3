"""Which options stand on which page, the pages' names, and where renamed options are found."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from support.option_docs import make_option, make_reference

from ectools.docs.html.pages import HTML_INDEX, write_pages
from ectools.docs.html.search import SEARCH_FILE
from ectools.docs.model import ModuleDoc
from ectools.docs.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Iterable

ASSETS = {HTML_INDEX, SEARCH_FILE, "style.css", "search.js"}
LONG = 500
"""A first part of names with more options than this has a page for each second part."""


def make_options(*names: str, prefix: str = "", redirects: dict[str, str] | None = None) -> Reference:
    return make_reference(*map(make_option, names), prefix=prefix, redirects=redirects)


def place(pages: dict[str, str]) -> dict[str, list[str]]:
    """Page → anchors of the options that stand there."""
    return {
        name: re.findall(r'<section class="option" id="opt-(.*?)"', pages[name])
        for name in sorted(pages.keys() - ASSETS)
    }


def test_a_module_with_a_prefix_has_one_page_of_its_name() -> None:
    pages = write_pages(make_options("a.b", "a.c", prefix="a"))
    assert place(pages) == {"demo.html": ["a.b", "a.c"]}
    assert pages.keys() >= ASSETS
    assert "<title>a</title>" in pages["demo.html"]
    assert "<p>2 options</p>" in pages["demo.html"]
    assert '<li><a href="#opt-a.b">b</a></li>' in pages["demo.html"]


def test_one_without_has_a_page_for_each_first_part() -> None:
    pages = write_pages(make_options("b.c", "a.b", "b.d"))
    assert place(pages) == {"a.html": ["a.b"], "b.html": ["b.c", "b.d"]}
    assert "<p>1 option</p>" in pages["a.html"]
    assert re.findall(r'<a href="(\w+\.html)">\w+</a> <small>(\d)</small>', pages[HTML_INDEX]) == [
        ("a.html", "1"),
        ("b.html", "2"),
    ]
    assert "<p>3 options</p>" in pages[HTML_INDEX]


@pytest.mark.parametrize(("count", "split"), [(LONG, False), (LONG + 1, True)])
def test_a_long_page_becomes_one_for_each_second_part(count: int, split: bool) -> None:
    # An option of two parts has no second part to stand below.
    names = ["s.enable", "s.x.a", *(f"s.y.o{number}" for number in range(count - 2)), "z.only.a"]
    pages = write_pages(make_options(*names))
    placed = {page: len(options) for page, options in place(pages).items()}
    if split:
        assert placed == {"s.html": 1, "s.x.html": 1, "s.y.html": count - 2, "z.html": 1}
    else:
        assert placed == {"s.html": count, "z.html": 1}
    assert ("<details><summary>s " in pages[HTML_INDEX]) is split
    assert f"<p>{count + 1} options</p>" in pages[HTML_INDEX]


def test_the_index_names_options_where_there_are_few() -> None:
    few = write_pages(make_options(*(f"a.o{number}" for number in range(LONG))))[HTML_INDEX]
    many = write_pages(make_options("b.c", *(f"a.o{number}" for number in range(LONG))))[HTML_INDEX]
    assert '<li><a href="a.html#opt-a.o7">o7</a></li>' in few
    assert "o7" not in many
    assert '<li><a href="b.html">b</a> <small>1</small></li>' in many


@pytest.mark.parametrize(
    ("names", "pages"),
    [
        (["index.a"], ["index-2.html"]),
        (["INDEX.a", "index.b"], ["INDEX-2.html", "index-3.html"]),
        (["a/b.c", "a b.c"], ["a_b-2.html", "a_b.html"]),
        (["//x:y.a"], ["__x_y.html"]),
        (["<name>.a"], ["_name_.html"]),
        (["é.a"], ["_.html"]),
    ],
)
def test_names_are_safe_and_differ_in_every_file_system(names: Iterable[str], pages: list[str]) -> None:
    written = write_pages(make_options(*names))
    assert sorted(written.keys() - ASSETS) == pages


def test_a_renamed_option_on_the_same_page_needs_no_entry() -> None:
    pages = write_pages(make_options("a.b", "c.d", redirects={"a.old": "a.b"}))
    assert "Renamed options" not in "".join(pages.values())


def test_one_of_another_page_is_told_where_it_stood() -> None:
    pages = write_pages(make_options("a.b", "a.x", "c.d", redirects={"c.old": "a.b", "c.older": "a.x"}))
    moved = pages["c.html"].partition('<section class="moved">')[2]
    assert re.findall(r'<li id="(.*?)"><code>(.*?)</code> is now .*?href="(.*?)"', moved) == [
        ("opt-c.old", "c.old", "a.html#opt-a.b"),
        ("opt-c.older", "c.older", "a.html#opt-a.x"),
    ]
    assert '<section class="moved">' not in pages["a.html"]


def test_one_of_a_page_that_is_gone_is_told_in_the_index() -> None:
    pages = write_pages(make_options("a.b", redirects={"gone.old": "a.b", "ab.c": "a.b"}))
    assert re.findall(r'<li id="(.*?)">', pages[HTML_INDEX].partition('class="moved"')[2]) == [
        "opt-ab.c",
        "opt-gone.old",
    ]


def test_links_in_a_description_lead_to_other_pages_and_by_former_names() -> None:
    options = (
        make_option("a.b", description="{option}`c.d`, [](#opt-old.d) and {option}`a.b`"),
        make_option("c.d"),
    )
    page = write_pages(make_reference(*options, prefix="", redirects={"old.d": "c.d"}))["a.html"]
    links = re.findall(r'href="([^"]*#opt[^"]*)"', page.partition('<div class="description">')[2])
    assert links == ["c.html#opt-c.d", "c.html#opt-c.d", "#opt-a.b"]


def test_pages_of_several_modules_in_their_order() -> None:
    modules = (
        ModuleDoc("two", "b", (make_option("b.x"),)),
        ModuleDoc("one", "a.c", (make_option("a.c.y"),)),
    )
    index = write_pages(Reference(modules, {}))[HTML_INDEX]
    assert re.findall(r'<a href="(\w+\.html)">(.*?)</a>', index) == [("two.html", "b"), ("one.html", "a.c")]
