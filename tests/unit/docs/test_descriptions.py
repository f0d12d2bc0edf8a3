"""What the text of a description becomes: markup as CommonMark and NixOS have it, and no more."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ectools.docs.commonmark import is_plain_text
from ectools.docs.html.search import make_plain
from ectools.docs.html.text import HtmlText
from ectools.docs.links import Links, SourceUrl
from ectools.docs.roff import write_blocks
from ectools.errors import InputError

LINKS = Links({"a.b": "other.html#opt-a.b"}, {"opt-a.b": "other.html#opt-a.b"}, "this.html")
# What a description can be made of, dangerous beginnings and all.
MARKUP = """
    word - 1. # > ` `` * ** _ [ ]( ) <b> &amp; {option}`a.b` {file}` \\ . ' " <script> javascript: é ---
    https://example.org ![x](y) <https://example.org> + ~~~ | = % @ { } ::: ``` [](#opt-a.b) 3)
"""
SPACES = [" ", "\n", "\n\n", "    ", "\t", "\0", "- ", "1. ", "# ", "> ", "::: {.note}\n", ":::\n", "```\n"]
PIECES = st.sampled_from(MARKUP.split() + SPACES)
TEXTS = st.lists(PIECES, max_size=25).map("".join)


def html(text: str) -> str:
    return HtmlText(LINKS).blocks(text)


NEARLY_SIMPLE = st.lists(
    st.sampled_from(
        [*"aAé01 .,:;'\"/()?%$@+=!|^~#>-•", "\n", "\n\n", "`a`", "`<&> \\`", "{option}`a.b`", "{file}`a  <`"]
    ),
    max_size=20,
).map(lambda parts: "a" + "".join(parts))


@given(st.one_of(TEXTS, NEARLY_SIMPLE))
@settings(max_examples=600)
def test_what_is_read_without_the_parser_means_the_same_to_it(text: str) -> None:
    if is_plain_text(text):
        simple, roff = html(text), write_blocks(text)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("ectools.docs.html.text.is_plain_text", lambda _: False)
            patch.setattr("ectools.docs.roff.is_plain_text", lambda _: False)
            assert simple == html(text)
            assert roff == write_blocks(text)


class Tags(HTMLParser):
    """Tags that were opened and not closed, and every attribute."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes += attrs
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@given(TEXTS)
def test_html_is_well_formed_and_holds_nothing_of_the_text(text: str) -> None:
    tags = Tags(html(text))
    assert not tags.open
    assert not tags.names & {"script", "b", "img", "style", "iframe"}
    for name, value in tags.attributes:
        assert name in ("href", "class", "tabindex", "role", "start", "title")
        if name == "href":
            assert value is not None
            assert value.startswith(("https://", "http://", "mailto:", "other.html#", "#"))


@given(TEXTS)
def test_roff_has_no_request_of_the_text(text: str) -> None:
    known = {
        ".PP",
        ".sp",
        ".br",
        ".RS 4",
        ".RS 2",
        ".RE",
        ".nf",
        ".fi",
        ".IP \\(bu 2",
        '.IP "" 2',
        '.IP "" 4',
    }
    lines = write_blocks(text)
    for line in lines:
        if line.startswith((".", "'")):
            assert line in known or (line.startswith(".IP ") and line.endswith(". 4"))
    assert sum(line.startswith(".RS") for line in lines) == lines.count(".RE")
    assert lines.count(".nf") == lines.count(".fi")


@given(TEXTS)
def test_the_search_has_words_only(text: str) -> None:
    assert not set(make_plain(text)) & set("`*[]<>\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{option}`a.b`", '<p><a href="other.html#opt-a.b"><code>a.b</code></a></p>'),
        ("{option}`none`", "<p><code>none</code></p>"),
        ("`` {option}`a.b` ``", "<p><code>{option}`a.b`</code></p>"),
        ("\\{option}`a`", "<p>{option}<code>a</code></p>"),
        ("[x {option}`a.b`](https://a.org)", '<p><a href="https://a.org">x <code>a.b</code></a></p>'),
        ("[](#opt-a.b)", '<p><a href="other.html#opt-a.b"><code>a.b</code></a></p>'),
        ("[x](#nowhere)", "<p>x</p>"),
        ("[x](../file)", "<p>x</p>"),
        ("[x](data:text/html,y)", "<p>[x](data:text/html,y)</p>"),
        ("![x](https://a.org/x.png)", '<p><a href="https://a.org/x.png">x</a></p>'),
        ("<b>x</b>", "<p>&lt;b&gt;x&lt;/b&gt;</p>"),
        ("::: {.none}\nx\n:::", "<p>::: {.none}\nx\n:::</p>"),
        (
            "::: {.note}\nx",
            '<div class="admonition note" role="note"><p class="admonition-title">Note</p>\n<p>x</p>\n</div>',
        ),
        (
            "- ::: {.tip}\n  x\n  :::\n- y",
            (
                '<ul>\n<li>\n<div class="admonition tip" role="note"><p class="admonition-title">Tip</p>\n'
                "<p>x</p>\n</div>\n</li>\n<li>y</li>\n</ul>"
            ),
        ),
        ("# One\n\n###### Six", "<h3>One</h3>\n<h6>Six</h6>"),
    ],
)
def test_markup(text: str, expected: str) -> None:
    assert html(text) == expected


def test_links_to_sources() -> None:
    url = SourceUrl("https://a.org/{path}#L{line}")
    assert url.fill("a b/c#.nix", 3) == "https://a.org/a%20b/c%23.nix#L3"
    assert url.fill("c.nix", None) == "https://a.org/c.nix"


@pytest.mark.parametrize(
    "template", ["https://a.org/", "https://a.org/{path}/{rev}", "javascript:{path}", "{path}"]
)
def test_templates_that_are_none(template: str) -> None:
    with pytest.raises(InputError, match="not a template"):
        SourceUrl(template)
