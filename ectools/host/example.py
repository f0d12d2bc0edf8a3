"""An example host description in TOML, written from a schema: every option with what it is for."""

from __future__ import annotations

import json
import re
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ectools.errors import InputError
from ectools.host.combined_schema import describe_option, follow_path, is_package
from ectools.settings_file import PACKAGE_PATTERN

if TYPE_CHECKING:
    from collections.abc import Mapping

_WIDTH = 100
_HEADER = """\
# A host description. `ectools validate` checks it; `ectools generate` makes the NixOS module of it.
# An option that is commented out has its default.
"""


def build_example(
    document: dict[str, Any],
    values: Mapping[tuple[str, ...], Any] | None = None,
    *,
    editor_schema: str | None = None,
) -> str:
    """The text. ``document`` is the schema of a host description; what has no default is written out.

    ``values``: the path of an option → what is written for it, in place of its default. ``editor_schema``:
    the address of a schema that the first line names, as taplo reads it
    (https://taplo.tamasfe.dev/configuration/directives.html). Raises InputError where no line can hold that.
    """
    if editor_schema is not None and (not editor_schema.isprintable() or " " in editor_schema):
        raise InputError(f"{editor_schema!r}: not the address of a schema", hint="write a space in it as %20")
    lines: list[str] = []
    _write_table(document, (), _Writing(document, values or {}), lines)
    directive = "" if editor_schema is None else f"#:schema {editor_schema}\n"
    return directive + _HEADER + "\n".join(lines) + "\n"


@dataclass(frozen=True)
class _Writing:
    document: dict[str, Any]
    values: Mapping[tuple[str, ...], Any]


def _write_table(schema: dict[str, Any], path: tuple[str, ...], writing: _Writing, lines: list[str]) -> None:
    document = writing.document
    properties = {name: follow_path(each, document) for name, each in schema.get("properties", {}).items()}
    tables = {name: each for name, each in properties.items() if _is_table(each)}
    options = {name: each for name, each in properties.items() if name not in tables}
    if options:
        lines += ["", f"[{'.'.join(map(_write_key, path))}]"] if path else []
        for name in sorted(options, key=lambda each: each != "enable"):
            lines += ["", *_describe(options[name])]
            if name == "enable" and "x-nix-path" in schema:
                # The reason why the module is in the file at all.
                lines.append("enable = true")
            else:
                given = writing.values.get((*path, name))
                mark = "# " if given is None and name not in schema.get("required", ()) else ""
                value = _choose_value(options[name], document) if given is None else given
                lines.append(f"{mark}{_write_key(name)} = {_write_value(value)}")
    for name, each in tables.items():
        _write_table(each, (*path, name), writing, lines)


def _is_table(schema: dict[str, Any]) -> bool:
    return "properties" in schema and "x-nix-type" not in schema


def _describe(option: dict[str, Any]) -> list[str]:
    """What the option is for, its type and its default, as comment lines."""
    about = f"Type: {option.get('x-nix-type', 'any')}."
    if "default" in option:
        about += f" Default: {json.dumps(option['default'], ensure_ascii=False)}."
    else:
        default = option.get("x-nix-default-text") or option.get("x-nix-default-markdown")
        about += f" Default: {' '.join(str(default).split())}." if default else ""
    lines: list[str] = []
    for text in filter(None, (describe_option(option), about)):
        lines += textwrap.wrap(text, _WIDTH - 2, break_on_hyphens=False, break_long_words=False)
    return [f"# {line}" for line in lines]


def _choose_value(option: dict[str, Any], document: dict[str, Any]) -> Any:
    """The default where TOML can say it, else an example, else a value of the type."""
    default_text = option.get("x-nix-default-text", "")
    if is_package(option) and re.match(PACKAGE_PATTERN, default_text):
        return default_text
    known = [option.get("default"), *option.get("examples", ())]
    return next((value for value in known if value is not None), _invent(option, document))


def _invent(option: dict[str, Any], document: dict[str, Any]) -> Any:  # noqa: PLR0911 - one a type
    """A value to be replaced, of the option's type where that is plain to see."""
    option = follow_path(option, document)
    if is_package(option):
        return "pkgs.hello"
    if "enum" in option:
        return next((value for value in option["enum"] if value is not None), "…")
    branches = [branch for branch in option.get("anyOf", ()) if branch.get("type") != "null"]
    if branches:
        return _invent(branches[0], document)
    match option.get("type"):
        case "boolean":
            return False
        case "integer" | "number":
            return max(0, option.get("minimum", 0))
        case "array":
            return [_invent(option["items"], document)] if option.get("minItems") else []
        case "object":
            properties = option.get("properties", {})
            return {name: _invent(properties[name], document) for name in option.get("required", ())}
        case _:
            return "/…" if option.get("pattern") == "^/" else "…"


def _write_key(name: str) -> str:
    bare = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    return name if bare else _write_value(name)


def _write_value(value: Any) -> str:
    match value:
        case list():
            return f"[{', '.join(map(_write_value, value))}]"
        case dict():
            pairs = [f"{_write_key(name)} = {_write_value(each)}" for name, each in value.items()]
            return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
        case _:
            # TOML's basic strings are JSON's, but that DEL must be escaped.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
