"""Options of a host as people read them: a heading for each field, as nixos-option has them."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from ectools.checks.host_options import ResultKind
from ectools.names import show_path
from ectools.nixlang import render

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ectools.checks.evaluation import FailedEvaluationError
    from ectools.checks.host_options import HostOption

# lib.mkOptionDefault, which is what an option's own default has.
_DEFAULT_PRIORITY = 1500
_PRIORITIES = {10: "mkVMOverride", 50: "mkForce", 60: "mkImageMediaOverride", 1000: "mkDefault"}


def write_option_text(option: HostOption) -> str:
    """An option, or what else has its name: several lines, the name first, without a newline at the end."""
    if option.kind is ResultKind.SET:
        return "\n".join([option.name, *(f"  {show_path([name])}" for name in option.names)])
    lines = [option.name]
    for heading, text in _sections(option):
        lines += [f"  {heading}:", textwrap.indent(text.rstrip("\n"), "    ")]
    return "\n".join(lines)


def _sections(option: HostOption) -> Iterator[tuple[str, str]]:
    fields, errors = option.fields, option.errors
    if "value" in errors:
        yield "Value", f"error: {_first_line(errors['value'])}"
    elif "value" in fields:
        yield "Value", _show(fields["value"]) if fields["value"] is not None else "none"
    if fields.get("defaultText") or fields.get("default"):
        yield "Default", _show(fields.get("defaultText") or fields["default"])
    elif "default" in errors:
        yield "Default", f"error: {_first_line(errors['default'])}"
    if fields.get("type"):
        yield "Type", fields["type"] + (", read only" if fields.get("readOnly") else "")
    if fields.get("example"):
        yield "Example", _show(fields["example"])
    if fields.get("description"):
        yield "Description", fields["description"].strip()
    if fields.get("declarations"):
        places = [
            f"{each['file']}:{each['line']}" if each.get("line") else each["file"]
            for each in fields["declarations"]
        ]
        yield "Declared in", "\n".join(places)
    yield _defined(option)


def _defined(option: HostOption) -> tuple[str, str]:
    state = option.fields.get("state") or {}
    priority = state.get("priority")
    definitions = option.fields.get("definitions") or []
    if priority == _DEFAULT_PRIORITY or not definitions:
        return "Defined in", "nothing"
    how = "" if priority in (None, 100) else f", by {_PRIORITIES.get(priority, f'mkOverride {priority}')}"
    texts = [
        f"{each['file']}\n{textwrap.indent(_show(each['value']), '  ')}" if "value" in each else each["file"]
        for each in definitions
    ]
    return f"Defined in{how}", "\n".join(texts)


def _show(shown: dict[str, Any]) -> str:
    """A value as Nix; prose and what Nix has shown itself as they are."""
    if "value" in shown:
        return render(shown["value"])
    return str(shown["text"] if "text" in shown else shown["markdown"])


def _first_line(error: FailedEvaluationError) -> str:
    return error.render().partition("\n")[0]
