"""Data as nixpkgs' ``lib.generators.toPretty`` shows it, character for character.

``ectools.nixlang`` writes the same data in the layout of nixfmt; this is for what must be equal to nixpkgs'
own output.
"""

from __future__ import annotations

import json
import re
from typing import Any

from ectools.nixlang.scalars import KEYWORDS

_ESCAPES = {"${": "''${", "''": "'''"}
_ESCAPED = re.compile(r"\$\{|''")
_BARE_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_'-]*\Z")


def show_pretty(value: Any, indent: str = "") -> str:  # noqa: PLR0911 - one a kind of value
    """A JSON value, over several lines; ``indent`` is what each but the first begins with."""
    intro, outro = f"\n{indent}  ", f"\n{indent}"
    match value:
        case str():
            return _show_text(value, intro, outro)
        case list() if value:
            return f"[{intro}{intro.join(show_pretty(item, f'{indent}  ') for item in value)}{outro}]"
        case list():
            return "[ ]"
        case dict() if value.get("type") == "derivation":
            return f"<derivation {value.get('name', '???')}>"
        case dict() if value:
            names = sorted(value, key=str.encode)
            bindings = (
                f"{show_pretty_name(name)} = {show_pretty(value[name], f'{indent}  ')};" for name in names
            )
            return f"{{{intro}{intro.join(bindings)}{outro}}}"
        case dict():
            return "{ }"
        case _:
            return json.dumps(value)


def show_pretty_name(name: str) -> str:
    """``lib.strings.escapeNixIdentifier``: bare where Nix can read it, else as JSON with ``$`` escaped."""
    if _BARE_NAME.match(name) and name not in KEYWORDS:
        return name
    return json.dumps(name, ensure_ascii=False).replace("$", "\\$")


def _show_text(text: str, intro: str, outro: str) -> str:
    lines = text.split("\n")
    if len(lines) == 1:
        escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("${", "\\${")
        return f'"{escaped}"'
    *first, last = [_ESCAPED.sub(lambda found: _ESCAPES[found[0]], line) for line in lines]
    return f"''{intro}{intro.join(first)}{f'{intro}{last}' if last else outro}''"
