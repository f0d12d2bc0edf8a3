"""The Markdown pages: links within a page and to others, and text that stays text."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from markdown_it import MarkdownIt
from support.option_docs import make_option, make_reference

from ectools.docs.constraints import Constraint
from ectools.docs.markdown import code_span, escape_markdown, write_pages
from ectools.docs.model import CodeExample, Declaration, ModuleDoc, OptionDoc
from ectools.docs.reference import Reference


def write_entry(option: OptionDoc, *others: OptionDoc) -> str:
    page = write_pages(make_reference(option, *others))["demo.md"]
    return page.partition("\n## ")[2].partition("\n## ")[0]


def fields(option: OptionDoc) -> list[str]:
    return [line for line in write_entry(option).splitlines() if line.startswith("- ")]


@pytest.mark.parametrize(
    ("text", "span"),
    [("a", "`a`"), ("a`b", "``a`b``"), ("`a", "`` `a ``"), ("a``", "``` a`` ```"), ("", "``")],
)
def test_code_spans(text: str, span: str) -> None:
    assert code_span(text) == span
    if text:
        (inline,) = (each for each in MarkdownIt("commonmark").parse(span) if each.type == "inline")
        assert [(each.type, each.content) for each in inline.children or ()] == [("code_inline", text)]


def test_text_is_shown_as_it_is() -> None:
    text = r"a\ `b` *c* _d_ [e](f) <g> {h} # | ~"
    shown = MarkdownIt("commonmark").render(escape_markdown(text))
    assert shown == f"<p>{text.replace('<', '&lt;').replace('>', '&gt;')}</p>\n"


def test_an_option_of_which_nothing_is_known() -> None:
    assert write_entry(make_option("a.<name>.b")) == (
        '<a id="opt-a._name_.b"></a>`a.<name>.b`\n\nNo description.\n\n- Type: string\n'
    )


def test_the_list_of_options_leads_to_each_whatever_its_name() -> None:
    names = ("a.b", "a.<name>.b", r'a."odd \"name\""', "a.(b)", "a.%20")
    page = write_pages(make_reference(*map(make_option, names)))["demo.md"]
    links = re.findall(r'href="#([^"]*)"', MarkdownIt("commonmark").render(page))
    assert [unquote(link) for link in links] == re.findall(r'<a id="([^"]*)">', page)
    assert len(links) == len(names)


def test_all_that_can_be_said_of_an_option_in_a_list() -> None:
    option = make_option(
        "a.b",
        type="list of *",
        constraints=(Constraint("minimum", (1,)), Constraint("not in the schema", ("a_b",), note=True)),
        default=CodeExample("x"),
        example=CodeExample("as\nyou *like*", words=True),
        declarations=(Declaration("a.nix", 3, "https://example.org/a"), Declaration("c.nix", None)),
        related_packages="- `demo`\n- `more`",
        required=True,
        read_only=True,
        internal=True,
        formerly=("a.c", "a.d"),
    )
    assert fields(option) == [
        "- Type: list of \\*",
        "- Minimum: `1`",
        "- Not in the schema: a\\_b",
        "- Must be set",
        "- Read-only",
        "- Internal",
        "- Default: `x`",
        "- Example: as you *like*",
        "- Declared in: [`a.nix#L3`](https://example.org/a), `c.nix`",
        "- Related packages:",
        "- Formerly: `a.c`, `a.d`",
    ]
    assert '<a id="opt-a.b"></a><a id="opt-a.c"></a><a id="opt-a.d"></a>`a.b`' in write_entry(option)


@pytest.mark.parametrize(("code", "fence"), [("{\n\n}", "```"), ('"```"\n', "````")])
def test_code_of_several_lines_is_fenced_within_its_item(code: str, fence: str) -> None:
    entry = write_entry(make_option("a.b", default=CodeExample(code)))
    body = "".join(f"  {line}".rstrip() + "\n" for line in code.splitlines())
    assert f"- Default: \n\n  {fence}nix\n{body}  {fence}\n" in entry


def test_roles_that_name_an_option_lead_to_it() -> None:
    here = make_option("a.b", description="{option}`a.c`, {option}`d.e`, {option}`no`, {manpage}`x(1)`")
    modules = (
        ModuleDoc("demo", "a", (here, make_option("a.c"))),
        ModuleDoc("other", "d", (make_option("d.e"),)),
    )
    page = write_pages(Reference(modules, {}))["demo.md"]
    assert "\n[`a.c`](#opt-a.c), [`d.e`](other.md#opt-d.e), `no`, x(1)\n" in page


def test_pages_and_their_index() -> None:
    pages = write_pages(make_reference(make_option("a.b"), make_option("a.c")))
    assert sorted(pages) == ["demo.md", "index.md"]
    assert pages["index.md"] == "# Options\n\n- [`a`](demo.md): 2 options\n"
    assert pages["demo.md"].startswith(
        "# `a`\n\nThe options of the NixOS module `demo`.\n\n- [`a.b`](#opt-a.b)\n- [`a.c`](#opt-a.c)\n\n## "
    )
