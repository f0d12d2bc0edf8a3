"""The reference as one page of the manual, named as the site says, in the man(7) macros."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from ectools import __version__
from ectools.docs.roff import bold, escape_roff, escape_roff_code, fill, write_blocks, write_roff_code_block

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ectools.docs.constraints import Constraint
    from ectools.docs.model import CodeExample, OptionDoc
    from ectools.docs.reference import Reference
    from ectools.docs.site import Site

# The earliest date of an archive: a page without one is an error, and one of today is another page every day.
_NO_DATE = 315532800
_TITLE = "Options"


def write_pages(reference: Reference) -> dict[str, str]:
    """The one page, by its file's name. It is dated ``SOURCE_DATE_EPOCH``, or 1980."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    date = time.strftime("%Y-%m-%d", time.gmtime(int(epoch) if epoch.isdigit() else _NO_DATE))
    site = reference.site
    page = site.man_page
    source = f"{site.title} {site.version}" if site.version else f"ectools {__version__}"
    lines = [
        f'.TH {escape_roff_code(page.name.upper())} {page.section} "{date}" "{_quote(source)}" "Options"',
        # No name is hyphenated, and no line filled with spaces: code is copied from here.
        ".nh",
        ".ad l",
        ".SH NAME",
        f"{escape_roff_code(page.name)} \\- {escape_roff(_describe(site))}",
        ".SH OPTIONS",
    ]
    for module in reference.modules:
        lines += fill(escape_roff(f"The options of the module {module.name}:"))
        for option in module.options:
            lines += _write_entry(option)
        lines.append(".PP")
    return {page.file: "\n".join(lines[:-1]) + "\n"}


def _describe(site: Site) -> str:
    return "options of NixOS modules" if site.title == _TITLE else f"options of {site.title}"


def _quote(text: str) -> str:
    """A macro's argument between double quotes."""
    return escape_roff(text).replace('"', '""')


def _write_entry(option: OptionDoc) -> list[str]:
    lines = [".PP", bold(option.name), ".RS 4", *write_blocks(option.description or "No description.")]
    separator = ".PP"
    for label, value in _fields(option):
        first, *rest = value
        lines += [separator, *fill(f"\\fI{label}:\\fR {first}"), *rest]
        separator = ".br"
    return [*lines, ".RE"]


def _fields(option: OptionDoc) -> Iterator[tuple[str, list[str]]]:
    """Label, and a value: words that are escaped and to be filled, then lines of roff."""
    yield "Type", [escape_roff(option.type)]
    for constraint in option.constraints:
        yield escape_roff(constraint.title), [_show_constraint(constraint)]
    if option.required:
        yield "Must be set", ["yes"]
    if option.read_only:
        yield "Read-only", ["yes"]
    if option.internal:
        yield "Internal", ["yes"]
    if option.default is not None:
        yield "Default", _write_code(option.default)
    if option.example is not None:
        yield "Example", _write_code(option.example)
    if option.related_packages:
        yield "Related packages", ["", *write_blocks(option.related_packages)]
    if option.formerly:
        yield "Formerly", [", ".join(map(bold, option.formerly))]
    if option.declarations:
        yield (
            "Declared in",
            [", ".join(f"\\fI{escape_roff_code(place.show())}\\fR" for place in option.declarations)],
        )


def _show_constraint(constraint: Constraint) -> str:
    return ", ".join(map(escape_roff if constraint.note else bold, constraint.values))


def _write_code(code: CodeExample) -> list[str]:
    if code.words:
        return ["", *write_blocks(code.text)]
    return ["", *write_roff_code_block(code.text)] if "\n" in code.text else [bold(code.text)]
