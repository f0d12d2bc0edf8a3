"""The page of a command: its parts, and that each command below it has one."""

from __future__ import annotations

import click
import pytest

from ectools.docs.commands_man import write_command_pages


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog="Example: tool do -n 3")
@click.version_option("1")
def tool() -> None:
    """Do it. Or not.

    \b
    As often as `-n` says.
    """


@tool.command(epilog="For more, ask.")
@click.argument("what")
@click.argument("others", nargs=-1, metavar="[OTHER]...")
@click.option("-n", type=click.IntRange(min=1), default=2, show_default=True, help="How *often*.")
@click.option("--form", type=click.Choice(["a", "b"]), multiple=True, default=("a",), show_default=True)
@click.option("--pair", nargs=2, help="'Two'.")
@click.option("--quick/--slow", help="How fast.")
@click.option("--secret", hidden=True)
@click.option("--file", metavar="FILE", show_default=True, default=lambda: "x")
def do(**_values: object) -> None:
    """.Do WHAT-EVER with the `command`."""


@tool.group(invoke_without_command=True)
def more() -> None: ...


@more.command(hidden=True)
def nothing() -> None: ...


def write() -> dict[str, list[str]]:
    pages = write_command_pages(tool, program="tool", url="https://example.org/a-b")
    return {name: text.splitlines() for name, text in pages.items()}


def section(lines: list[str], title: str) -> list[str]:
    """The lines of a section."""
    rest = lines[lines.index(f".SH {title}") + 1 :]
    end = next((at for at, line in enumerate(rest) if line.startswith(".SH ")), len(rest))
    return rest[:end]


def test_each_command_has_a_page_but_the_hidden() -> None:
    assert [*write()] == ["tool.1", "tool-do.1", "tool-more.1"]


def test_a_group() -> None:
    page = write()["tool.1"]
    assert page[0].startswith('.TH TOOL 1 "1980-01-01" "ectools ')
    assert section(page, "NAME") == ["tool \\- Do it"]
    assert section(page, "SYNOPSIS") == ["\\fBtool\\fR [\\fIOPTION\\fR .\\|.\\|.] \\fICOMMAND\\fR"]
    assert section(page, "DESCRIPTION") == ["Do it. Or not.", ".PP", "As often as \\fB\\-n\\fR says."]
    assert section(page, "COMMANDS") == [
        *(".TP", "\\fBtool\\-do\\fR(1)", "\\&.Do WHAT-EVER with the command."),
        *(".TP", "\\fBtool\\-more\\fR(1)", "\\&."),
    ]
    assert section(page, "EXAMPLES") == [".nf", "tool do \\-n 3", ".fi"]
    assert section(page, "SEE ALSO") == ["\\fBectools\\-options\\fR(5)", ".PP", "https://example.org/a\\-b"]
    assert "\\fB\\-h\\fR, \\fB\\-\\-help\\fR" in section(page, "OPTIONS")


@pytest.mark.parametrize(
    ("term", "text"),
    [
        ("\\fB\\-n\\fR \\fIINTEGER\\fR", "How \\fIoften\\fR. [default: 2]"),
        ("\\fB\\-\\-form\\fR \\fIa|b\\fR", "[default: a]"),
        ("\\fB\\-\\-pair\\fR \\fITEXT TEXT\\fR", "\\&'Two'."),
        ("\\fB\\-\\-quick\\fR, \\fB\\-\\-slow\\fR", "How fast."),
        ("\\fB\\-\\-file\\fR \\fIFILE\\fR", "Not described."),
    ],
)
def test_an_option(term: str, text: str) -> None:
    lines = section(write()["tool-do.1"], "OPTIONS")
    at = lines.index(term)
    assert lines[at - 1 : at + 2] == [".TP", term, text]


def test_a_command_below() -> None:
    page = write()["tool-do.1"]
    assert section(page, "SYNOPSIS") == [
        "\\fBtool do\\fR [\\fIOPTION\\fR .\\|.\\|.] \\fIWHAT\\fR [\\fIOTHER\\fR .\\|.\\|.]"
    ]
    assert section(page, "SEE ALSO")[0] == "\\fBtool\\fR(1), \\fBectools\\-options\\fR(5)"
    # An epilog that is no example, and a hidden option, are left out.
    assert ".SH EXAMPLES" not in page
    assert not [line for line in page if "secret" in line]


def test_a_group_that_does_something_by_itself() -> None:
    assert section(write()["tool-more.1"], "SYNOPSIS") == ["\\fBtool more\\fR [\\fICOMMAND\\fR]"]
