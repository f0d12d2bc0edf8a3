"""One option's entry on its page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markdown_it.common.utils import escapeHtml as escape  # noqa: N813 - of functions here, snake_case

from ectools.docs.html.text import HtmlText, write_html_code_block
from ectools.docs.model import make_anchor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ectools.docs.constraints import Constraint
    from ectools.docs.model import CodeExample, Declaration, OptionDoc


def write_entry(option: OptionDoc, text: HtmlText) -> str:
    """A section whose id is the option's anchor; its former ones are in it, so that old links lead there."""
    anchor = escape(option.anchor)
    former = "".join(f'<span id="{escape(make_anchor(name))}"></span>' for name in option.formerly)
    badges = "".join(f'<span class="badge">{label}</span>' for label in _badges(option))
    fields = "".join(
        f"<div><dt>{label}</dt><dd>{value}</dd></div>\n" for label, value in _fields(option, text)
    )
    description = text.blocks(option.description) if option.description else "<p>No description.</p>"
    return (
        f'<section class="option" id="{anchor}">{former}\n'
        f'<h2><a href="#{anchor}">{_write_name(option)}</a>{badges}</h2>\n'
        f'<div class="description">\n{description}\n</div>\n<dl>\n{fields}</dl>\n</section>\n'
    )


def _write_name(option: OptionDoc) -> str:
    last = len(option.name) - option.name.endswith('"')
    head = option.name[:last].rpartition(".")[0] if '"' not in option.name else ""
    if not head:
        return escape(option.name)
    return f'<span class="prefix">{escape(head)}.</span>{escape(option.name[len(head) + 1 :])}'


def _badges(option: OptionDoc) -> Iterator[str]:
    if option.required:
        yield "must be set"
    if option.read_only:
        yield "read-only"
    if option.internal:
        yield "internal"


def _fields(option: OptionDoc, text: HtmlText) -> Iterator[tuple[str, str]]:
    yield "Type", escape(option.type)
    for constraint in option.constraints:
        yield escape(constraint.title), _write_constraint(constraint)
    if option.default is not None:
        yield "Default", _write_code(option.default, text)
    if option.example is not None:
        yield "Example", _write_code(option.example, text)
    if option.related_packages:
        yield "Related packages", text.inline(option.related_packages)
    if option.formerly:
        yield "Formerly", ", ".join(f"<code>{escape(name)}</code>" for name in option.formerly)
    if option.declarations:
        yield "Declared in", ", ".join(map(_write_declaration, option.declarations))


def _write_constraint(constraint: Constraint) -> str:
    if constraint.note:
        return ", ".join(map(escape, constraint.values))
    return ", ".join(f"<code>{escape(value)}</code>" for value in constraint.values)


def _write_code(code: CodeExample, text: HtmlText) -> str:
    if code.words:
        return text.inline(code.text)
    return write_html_code_block(code.text) if "\n" in code.text else f"<code>{escape(code.text)}</code>"


def _write_declaration(place: Declaration) -> str:
    shown = f"<code>{escape(place.show())}</code>"
    return shown if place.url is None else f'<a href="{escape(place.url)}">{shown}</a>'
