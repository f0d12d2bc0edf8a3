"""Guides as pages: their headings and links, what is kept of HTML in them, and their pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.option_docs import make_option

from ectools.docs.html.guides import load_guides
from ectools.docs.html.pages import write_pages
from ectools.docs.model import ModuleDoc
from ectools.docs.reference import Reference
from ectools.docs.site import Site
from ectools.errors import InputError


def write(directory: Path, text: str, **others: str) -> dict[str, str | bytes]:
    """The pages of a guide ``a.md`` and others, beside the options of the module ``demo``."""
    files = {"a": text, **others}
    for name, content in files.items():
        (directory / f"{name}.md").write_text(content)
    guides = tuple(directory / f"{name}.md" for name in files)
    return write_pages(
        Reference((ModuleDoc("demo", "s", (make_option("s.x"),)),), {}, (), Site(guides=guides))
    )


def write_body(directory: Path, text: str, **others: str) -> str:
    page = write(directory, text, **others)["a.html"]
    assert isinstance(page, str)
    return page.partition('<article class="guide">\n')[2].partition("</article>")[0]


def test_titles_stand_on_the_first_page_and_in_the_guide(tmp_path: Path) -> None:
    pages = write(tmp_path, "# A *guide* & more\n\nIts `first` words.\n\nOthers.", b="no heading", c="")
    index = str(pages["index.html"])
    assert '<a href="a.html">A guide &amp; more</a>\n<p>Its first words.</p>' in index
    assert '<a href="b.html">b</a>\n<p>no heading</p>' in index
    assert index.index("<h2>Guides</h2>") < index.index("<h2>Options</h2>")
    assert "<title>A guide &amp; more</title>" in str(pages["a.html"])


def test_long_first_words_are_cut_between_words(tmp_path: Path) -> None:
    index = str(write(tmp_path, "# t\n\n" + "word " * 100)["index.html"])
    assert "word word …</p>" in index


def test_headings_have_the_anchors_of_a_forge_and_a_list(tmp_path: Path) -> None:
    page = str(write(tmp_path, "# T\n\n## A, b!\n\n### `c_d` é\n\n## A, b!\n")["a.html"])
    for anchor in ("a-b", "c_d-é", "a-b-1"):
        assert f' id="{anchor}">' in page
    assert '<li class="level2"><a href="#a-b-1">A, b!</a></li>' in page
    assert '<li class="level3"><a href="#c_d-%C3%A9">c_d é</a></li>' in page


@pytest.mark.parametrize(
    ("href", "shown"),
    [
        ("b.md", '<a href="b.html">x</a>'),
        ("./b.md#there", '<a href="b.html#there">x</a>'),
        ("options/demo.md#opt-s.x", '<a href="demo.html#opt-s.x">x</a>'),
        ("#here", '<a href="#here">x</a>'),
        ("https://example.org/a?b", '<a href="https://example.org/a?b">x</a>'),
        ("../nix/none.nix", "x"),
        ("none.md", "x"),
        ("javascript:alert(1)", "x"),
        ("//example.org/b.md", "x"),
    ],
)
def test_links(tmp_path: Path, href: str, shown: str) -> None:
    # Of an unsafe link CommonMark's reader makes text.
    body = write_body(tmp_path, f"[x]({href})", b="")
    assert shown in body
    assert body.count("<a ") == shown.count("<a ")


def test_of_html_only_pictures_are_kept(tmp_path: Path) -> None:
    (tmp_path / "p.svg").write_text("<svg/>")
    text = (
        '<img src="p.svg" width="40" alt="a &amp; b" onerror="x">\n\n'
        "![c](p.svg) <b>bold</b> <!-- said to nobody -->\n\n"
        '<script>alert(1)</script>\n\n<img src="p.svg" width="4em">'
    )
    pages = write(tmp_path, text)
    page = str(pages["a.html"])
    assert '<img src="picture-p.svg" alt="a &amp; b" width="40">' in page
    assert '<img src="picture-p.svg" alt="c"> &lt;b&gt;bold&lt;/b&gt;' in page
    assert '<img src="picture-p.svg" alt="">' in page
    assert "&lt;script&gt;" in page
    assert "nobody" not in page
    assert "onerror" not in page
    assert pages["picture-p.svg"] == b"<svg/>"


@pytest.mark.parametrize("source", ["none.svg", "a.md", "https://example.org/p.svg"])
def test_a_picture_that_is_not_there_is_its_words(tmp_path: Path, source: str) -> None:
    assert "<p>words</p>" in write_body(tmp_path, f"![words]({source})")


def test_code_and_tables(tmp_path: Path) -> None:
    body = write_body(tmp_path, "```\n<x>\n```\n\n    y\n\n| a |\n|---|\n| b |\n")
    assert '<pre tabindex="0"><code>&lt;x&gt;</code></pre>' in body
    assert '<pre tabindex="0"><code>y</code></pre>' in body
    assert '<div class="table" tabindex="0"><table>' in body


def test_what_is_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "p.png").write_text(name)
    with pytest.raises(InputError, match="another picture of that name"):
        write(tmp_path, "![](one/p.png) ![](two/p.png)")
    (tmp_path / "b.md").write_bytes(b"\xff")
    with pytest.raises(InputError, match=r"b\.md: is not UTF-8"):
        write_pages(Reference((), {}, (), Site(guides=(tmp_path / "b.md",))))


def test_a_guide_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.md"
    file.write_bytes(b"caf\xe9")
    with pytest.raises(InputError, match=r"a\.md: is not UTF-8"):
        load_guides([file], find_page=str)
