"""An example host description in TOML, written from a schema: every option with what it is for."""

from __future__ import annotations

import json
import re
import textwrap
from typing import Any

from ectools.host.contract import PACKAGE_PATTERN, describe_option, follow, is_package

_WIDTH = 100
_HEADER = """\
# A host description. `ectools validate` checks it; `ectools generate` makes the NixOS module of it.
# An option that is commented out has its default.
"""


def build_example(document: dict[str, Any]) -> str:
    """The text. ``document`` is the schema of a host description; what has no default is written out."""
    lines: list[str] = []
    _write_table(document, (), document, lines)
    return _HEADER + "\n".join(lines) + "\n"


def _write_table(
    schema: dict[str, Any], path: tuple[str, ...], document: dict[str, Any], lines: list[str]
) -> None:
    properties = {name: follow(each, document) for name, each in schema.get("properties", {}).items()}
    tables = {name: each for name, each in properties.items() if _is_table(each)}
    options = {name: each for name, each in properties.items() if name not in tables}
    if options:
        lines += ["", f"[{'.'.join(map(_write_key, path))}]"] if path else []
        required = set(schema.get("required", ()))
        for name in sorted(options, key=lambda each: each != "enable"):
            if name == "enable" and "x-nix-path" in schema:
                # The reason why the module is in the file at all.
                options[name] = {**options[name], "default": True}
                required.add(name)
            lines += _write_option(name, options[name], is_set=name in required)
    for name, each in tables.items():
        _write_table(each, (*path, name), document, lines)


def _is_table(schema: dict[str, Any]) -> bool:
    return "properties" in schema and "x-nix-type" not in schema


def _write_option(name: str, option: dict[str, Any], *, is_set: bool) -> list[str]:
    lines = [""]
    for text in (describe_option(option) or "", _describe_type(option)):
        lines += textwrap.wrap(
            text,
            _WIDTH,
            initial_indent="# ",
            subsequent_indent="# ",
            break_on_hyphens=False,
            break_long_words=False,
        )
    value = _choose_value(option)
    assignment = f"{_write_key(name)} = {'…' if value is None else _write_value(value)}"
    return [*lines, assignment if is_set and value is not None else f"# {assignment}"]


def _describe_type(option: dict[str, Any]) -> str:
    text = f"Type: {option.get('x-nix-type', 'any')}."
    if "default" in option:
        return f"{text} Default: {json.dumps(option['default'], ensure_ascii=False)}."
    default = option.get("x-nix-default-text") or option.get("x-nix-default-markdown")
    return f"{text} Default: {' '.join(str(default).split())}." if default else text


def _choose_value(option: dict[str, Any]) -> Any:
    """The default where TOML can say it, else an example, else a value of the type."""
    default = option.get("default")
    if default is not None:
        return default
    if is_package(option) and re.match(PACKAGE_PATTERN, option.get("x-nix-default-text", "")):
        return option["x-nix-default-text"]
    for example in option.get("examples", ()):
        if example is not None:
            return example
    return _invent(option)


def _invent(option: dict[str, Any]) -> Any:
    if is_package(option):
        return "pkgs.hello"
    if "enum" in option:
        return next((value for value in option["enum"] if value is not None), None)
    for branch in option.get("anyOf", ()):
        value = _invent(branch)
        if value is not None:
            return value
    kinds = {"string": "…", "boolean": False, "integer": option.get("minimum", 0), "array": [], "object": {}}
    return kinds.get(str(option.get("type")))


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
