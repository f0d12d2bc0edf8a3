"""An option's entry in HTML: its anchors, its badges, and nothing that is not escaped."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from support.option_docs import make_option

from ectools.docs.constraints import Constraint
from ectools.docs.html.entry import write_entry
from ectools.docs.html.text import HtmlText
from ectools.docs.links import Links
from ectools.docs.model import CodeExample, Declaration, OptionDoc

TEXT = HtmlText(Links({"a.c": "demo.html#opt-a.c"}, {}, "demo.html"))
EVIL = """<b a="'">&`x`"""


def fields(option: OptionDoc) -> list[tuple[str, str]]:
    found = re.findall(r"<div><dt>(.*?)</dt><dd>(.*?)</dd></div>\n", write_entry(option, TEXT), re.DOTALL)
    return [(label, value) for label, value in found]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a.b.c", '<span class="prefix">a.b.</span>c'),
        ("a", "a"),
        ("a.<name>.b", '<span class="prefix">a.&lt;name&gt;.</span>b'),
        ('a."b.c"', "a.&quot;b.c&quot;"),
        ('a."b".c', "a.&quot;b&quot;.c"),
    ],
)
def test_the_last_part_of_a_name_stands_out(name: str, shown: str) -> None:
    option = make_option(name)
    assert f'<h2><a href="#{option.anchor}">{shown}</a></h2>' in write_entry(option, TEXT)


def test_an_option_of_which_nothing_is_known() -> None:
    assert write_entry(make_option("a.b", type="a <b>"), TEXT) == (
        '<section class="option" id="opt-a.b">\n'
        '<h2><a href="#opt-a.b"><span class="prefix">a.</span>b</a></h2>\n'
        '<div class="description">\n<p>No description.</p>\n</div>\n'
        "<dl>\n<div><dt>Type</dt><dd>a &lt;b&gt;</dd></div>\n</dl>\n</section>\n"
    )


@pytest.mark.parametrize(
    ("flags", "badges"),
    [
        ({}, []),
        ({"required": True}, ["must be set"]),
        ({"read_only": True}, ["read-only"]),
        ({"internal": True}, ["internal"]),
        ({"internal": True, "read_only": True, "required": True}, ["must be set", "read-only", "internal"]),
    ],
)
def test_badges(flags: dict[str, Any], badges: list[str]) -> None:
    entry = write_entry(make_option("a.b", **flags), TEXT)
    assert re.findall(r'<span class="badge">(.*?)</span>', entry) == badges


def test_former_names_keep_their_anchors() -> None:
    option = make_option("a.b", formerly=("a.<x>", "a.y"))
    assert (
        '<section class="option" id="opt-a.b"><span id="opt-a._x_"></span><span id="opt-a.y"></span>\n'
        in (write_entry(option, TEXT))
    )
    assert fields(option)[-1] == ("Formerly", "<code>a.&lt;x&gt;</code>, <code>a.y</code>")


def test_all_that_can_be_said_of_an_option() -> None:
    option = make_option(
        "a.b",
        constraints=(
            Constraint("minimum", (1,), "each item"),
            Constraint("one of", ("<", 2)),
            Constraint("not in the schema", ("1 < 2",), note=True),
        ),
        default=CodeExample("<nixpkgs>"),
        example=CodeExample("as {option}`a.c` is", words=True),
        related_packages="`demo`",
        declarations=(Declaration("a.nix", 3, "https://example.org/?a&b"), Declaration("c<.nix", None)),
    )
    assert fields(option)[1:] == [
        ("Each item, minimum", "<code>1</code>"),
        ("One of", "<code>&quot;&lt;&quot;</code>, <code>2</code>"),
        ("Not in the schema", "1 &lt; 2"),
        ("Default", "<code>&lt;nixpkgs&gt;</code>"),
        ("Example", TEXT.inline("as {option}`a.c` is")),
        ("Related packages", "<code>demo</code>"),
        (
            "Declared in",
            '<a href="https://example.org/?a&amp;b"><code>a.nix#L3</code></a>, <code>c&lt;.nix</code>',
        ),
    ]
    assert 'href="#opt-a.c"' in TEXT.inline("{option}`a.c`")


def test_code_of_several_lines_is_a_block() -> None:
    ((_, value),) = fields(make_option("a.b", default=CodeExample("{\n  a = 1;\n}")))[1:]
    assert re.fullmatch(r"<pre[^>]*><code>{\n  a = 1;\n}</code></pre>\n", value)


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)


def test_no_field_brings_in_html() -> None:
    tags = _Tags()
    tags.feed(
        write_entry(
            make_option(
                f"a.{EVIL}",
                type=EVIL,
                description=EVIL,
                constraints=(Constraint("one of", (EVIL,)), Constraint("not in the schema", (EVIL,), EVIL)),
                default=CodeExample(EVIL),
                example=CodeExample(f"{EVIL}\n{EVIL}"),
                related_packages=EVIL,
                declarations=(Declaration(EVIL, 1, f"https://example.org/{EVIL}"),),
                formerly=(EVIL,),
            ),
            TEXT,
        )
    )
    assert "b" not in tags.names
