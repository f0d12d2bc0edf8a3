"""A page of the manual for each command, ``ectools-netboot-stage.1``, from the click commands themselves.

Not by click-man: it asks a group for ``commands``, which one that loads them lazily does not have, cuts the
first line at 45 characters, leaves out arguments and examples, and escapes nothing but hyphens.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import click

from ectools import __version__
from ectools.docs.roff import bold, escape_roff, escape_roff_code, fill, write_blocks, write_roff_code_block

if TYPE_CHECKING:
    from collections.abc import Iterator

_EXAMPLE = "Example: "
# The pages are committed: dated by its day, one would be another every day. A page without a date is an error
# (mandoc), and this is the earliest that an archive can have.
_DATE = "1980-01-01"
_STATUSES = (
    ("0", "It is done."),
    ("1", "It failed, or what was asked for is not so."),
    ("2", "What it was given is wrong: an argument, a file, a value."),
    ("130, 143", "It was interrupted (SIGINT), or told to end (SIGTERM)."),
)


def write_command_pages(command: click.Command, *, program: str, url: str) -> dict[str, str]:
    """The page of a program and of each command below it, by its file's name; ``url``: the documentation."""
    context = _open(command, program, None)
    return {f"{_page_name(each)}.1": _write_page(each, url) for each in _walk(context)}


def _walk(context: click.Context) -> Iterator[click.Context]:
    yield context
    for inner in _list_inner(context):
        yield from _walk(inner)


def _list_inner(context: click.Context) -> list[click.Context]:
    group = context.command
    if not isinstance(group, click.Group):
        return []
    named = [(name, group.get_command(context, name)) for name in group.list_commands(context)]
    return [
        _open(command, name, context) for name, command in named if command is not None and not command.hidden
    ]


def _open(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    return command.context_class(command, info_name=name, parent=parent, **command.context_settings)


def _page_name(context: click.Context) -> str:
    return context.command_path.replace(" ", "-")


def _write_page(context: click.Context, url: str) -> str:
    command, name = context.command, _page_name(context)
    text = inspect.cleandoc(command.help or "").partition("\f")[0]
    first = text.partition("\n\n")[0]
    title = escape_roff_code(name)
    lines = [
        f'.TH {title.upper()} 1 "{_DATE}" "ectools {escape_roff(__version__)}" "Commands"',
        # No name is hyphenated, and no line filled with spaces: code is copied from here.
        ".nh",
        ".ad l",
        ".SH NAME",
        *fill(f"{title} \\- {escape_roff(_shorten(first))}"),
        ".SH SYNOPSIS",
        *fill(_show_usage(context)),
        ".SH DESCRIPTION",
        *write_blocks(text.replace("\b\n", "")),
        *_write_options(context),
        *_write_inner(context),
        *_section("EXIT STATUS", [line for each in _STATUSES for line in _entry(bold(each[0]), each[1])]),
    ]
    if command.epilog and command.epilog.startswith(_EXAMPLE):
        example = command.epilog.partition("\n")[0].removeprefix(_EXAMPLE)
        lines += [".SH EXAMPLES", *write_roff_code_block(example)[1:-1]]
    return "\n".join([*lines, *_write_see_also(context, url)]) + "\n"


def _shorten(paragraph: str) -> str:
    """The first sentence, as a part of one: ``Serve what is staged``."""
    words = " ".join(paragraph.split())
    sentence = words.partition(". ")[0].removesuffix(".")
    return sentence.replace("`", "")


def _show_usage(context: click.Context) -> str:
    command = context.command
    pieces = [bold(context.command_path)]
    if any(isinstance(each, click.Option) and not each.hidden for each in command.params):
        pieces.append(f"[{_italic('OPTION')} .\\|.\\|.]")
    if isinstance(command, click.Group):
        wanted = _italic("COMMAND")
        pieces.append(f"[{wanted}]" if command.invoke_without_command else wanted)
    for each in command.params:
        if isinstance(each, click.Argument):
            shown = (each.metavar or (each.name or "").upper()).replace("[", "").replace("]", "").rstrip(".")
            shown = _italic(shown) + (" .\\|.\\|." if each.nargs == -1 else "")
            pieces.append(shown if each.required else f"[{shown}]")
    return " ".join(pieces)


def _write_options(context: click.Context) -> list[str]:
    lines = []
    for each in context.command.get_params(context):
        if isinstance(each, click.Option) and not each.hidden:
            lines += _entry(_show_option(each), _describe(each))
    return _section("OPTIONS", lines)


def _show_option(option: click.Option) -> str:
    names = ", ".join(map(bold, [*option.opts, *option.secondary_opts]))
    if option.is_flag or option.count:
        return names
    return f"{names} {_italic(_show_value(option))}"


def _show_value(option: click.Option) -> str:
    if option.metavar is not None:
        return option.metavar
    if isinstance(option.type, click.Choice):
        return "|".join(map(str, option.type.choices))
    kind = option.type.name.upper().replace(" RANGE", "")
    return " ".join([kind] * option.nargs)


def _describe(option: click.Option) -> str:
    text = option.help or ""
    default = option.default
    if option.show_default and default is not None and not callable(default):
        shown = ", ".join(map(str, default)) if isinstance(default, tuple | list) else str(default)
        text += f" [default: {shown}]"
    return text


def _write_inner(context: click.Context) -> list[str]:
    lines = []
    for each in _list_inner(context):
        text = inspect.cleandoc(each.command.help or "").partition("\n\n")[0]
        lines += _entry(f"{bold(_page_name(each))}(1)", f"{_shorten(text)}.")
    return _section("COMMANDS", lines)


def _write_see_also(context: click.Context, url: str) -> list[str]:
    pages = [] if context.parent is None else [f"{bold(_page_name(context.parent))}(1)"]
    pages.append(f"{bold('ectools-options')}(5)")
    return [".SH SEE ALSO", *fill(", ".join(pages)), ".PP", *fill(escape_roff_code(url))]


def _section(title: str, lines: list[str]) -> list[str]:
    return [f".SH {title}", *lines] if lines else []


def _entry(term: str, text: str) -> list[str]:
    return [".TP", *fill(term), *write_blocks(text.strip() or "Not described.")]


def _italic(text: str) -> str:
    return f"\\fI{escape_roff_code(text)}\\fR"
