"""The manual's page: its date, its entries, and code that can be copied from it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from support.option_docs import make_option, make_reference

from ectools.docs.constraints import Constraint
from ectools.docs.man import write_pages
from ectools.docs.model import CodeExample, Declaration, ModuleDoc, OptionDoc
from ectools.docs.reference import Reference


def write(*options: OptionDoc) -> list[str]:
    ((name, text),) = write_pages(make_reference(*options)).items()
    assert name == "ectools-options.5"
    return text.splitlines()


def write_entry(option: OptionDoc) -> list[str]:
    """The lines of an entry between its indentation and the end of it."""
    lines = write(option)
    return lines[lines.index(".RS 4") + 1 : len(lines) - lines[::-1].index(".RE") - 1]


@pytest.mark.parametrize(
    ("epoch", "date"),
    [(None, "1980-01-01"), ("", "1980-01-01"), ("soon", "1980-01-01"), ("86400", "1970-01-02")],
)
def test_a_page_has_the_date_of_its_source(
    monkeypatch: pytest.MonkeyPatch, epoch: str | None, date: str
) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    if epoch is not None:
        monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    assert write(make_option("a.b"))[0].startswith(f'.TH ECTOOLS\\-OPTIONS 5 "{date}" ')


def test_an_option_of_which_nothing_is_known() -> None:
    assert write_entry(make_option("a.b")) == ["No description.", ".PP", "\\fIType:\\fR string"]


def test_all_that_can_be_said_of_an_option_a_line_each() -> None:
    option = make_option(
        "a.b",
        description="What it is.",
        constraints=(
            Constraint("minimum", (1,), "each item"),
            Constraint("not in the schema", ("a.b-c",), note=True),
        ),
        default=CodeExample("pkgs.a-b"),
        example=CodeExample("`x` and *y*", words=True),
        declarations=(Declaration("a-b.nix", 3, "https://example.org"), Declaration("c.nix", None)),
        related_packages="`demo`",
        required=True,
        read_only=True,
        internal=True,
        formerly=("a.c", "a.d"),
    )
    assert write_entry(option) == [
        "What it is.",
        ".PP",
        "\\fIType:\\fR string",
        ".br",
        "\\fIEach item, minimum:\\fR \\fB1\\fR",
        ".br",
        "\\fINot in the schema:\\fR a.b-c",
        ".br",
        "\\fIMust be set:\\fR yes",
        ".br",
        "\\fIRead-only:\\fR yes",
        ".br",
        "\\fIInternal:\\fR yes",
        ".br",
        "\\fIDefault:\\fR \\fBpkgs.a\\-b\\fR",
        ".br",
        "\\fIExample:\\fR",
        "\\fBx\\fR and \\fIy\\fR",
        ".br",
        "\\fIRelated packages:\\fR",
        "\\fBdemo\\fR",
        ".br",
        "\\fIFormerly:\\fR \\fBa.c\\fR, \\fBa.d\\fR",
        ".br",
        "\\fIDeclared in:\\fR \\fIa\\-b.nix#L3\\fR, \\fIc.nix\\fR",
    ]


def test_code_of_several_lines_is_shown_as_it_is() -> None:
    entry = write_entry(make_option("a.b", default=CodeExample("{\n  a = 'x';\n}")))
    assert entry[4:] == ["\\fIDefault:\\fR", ".RS 4", ".nf", "{", "  a = \\(aqx\\(aq;", "}", ".fi", ".RE"]


def test_entries_of_several_modules() -> None:
    modules = (
        ModuleDoc("one", "a", (make_option("a.b"), make_option("a.c"))),
        ModuleDoc("two-2", "d", (make_option("d.e"),)),
    )
    lines = write_pages(Reference(modules, {}))["ectools-options.5"].splitlines()
    heads = [line for line in lines if line.startswith(("The options of", "\\fB"))]
    assert heads == [
        "The options of the module one:",
        "\\fBa.b\\fR",
        "\\fBa.c\\fR",
        "The options of the module two-2:",
        "\\fBd.e\\fR",
    ]
    # mandoc warns of a paragraph without text.
    assert lines[-1] == ".RE"
    assert not any(pair == (".PP", ".PP") for pair in pairwise(lines))
