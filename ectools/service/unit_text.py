"""Text as systemd reads it: units, and the paths in them and in tmpfiles' rules.

nix/modules/systemd.nix has the same rules for what NixOS does not escape by itself.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ectools.service.sections import load_definition

if TYPE_CHECKING:
    from ectools.service.sections import Sections, Setting

# What NixOS writes to one line, with blanks between; every other list is a line for each.
_ONE_LINE = frozenset(
    {"After", "Before", "Conflicts", "Documentation", "PartOf", "Requires", "WantedBy", "Wants"}
)
_BARE = re.compile(r"[A-Za-z0-9/._+@:,=-]+", re.ASCII)


def escape_specifiers(text: str) -> str:
    """Text of a setting that is taken whole: specifiers are expanded in nearly each (systemd.unit(5))."""
    return text.replace("%", "%%")


def quote_item(text: str) -> str:
    """One item of a list that is split at blanks (systemd.syntax(7), "Quoting")."""
    escaped = escape_specifiers(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def quote_word(text: str) -> str:
    """One word of a command line (systemd.service(5)), as it is where nothing in it needs quotes."""
    return text if _BARE.fullmatch(text) else quote_item(text).replace("$", "$$")


def quote_rule_path(text: str, *, is_glob: bool = False) -> str:
    """The path of a tmpfiles rule: C escapes and specifiers between quotes (tmpfiles.d(5))."""
    if is_glob:
        text = re.sub(r"([\\*?\[])", r"\\\1", text)
    escaped = escape_specifiers(text.replace("\\", "\\\\").replace("'", "\\'"))
    return f"'{escaped}'"


def leave_out_newer(sections: Sections, systemd: int | None) -> Sections:
    """The sections without the settings that this version of systemd does not know; None knows all."""
    since = load_definition("common")["since"]
    return {
        name: {
            key: value for key, value in settings.items() if systemd is None or since.get(key, 0) <= systemd
        }
        for name, settings in sections.items()
    }


def render_unit(sections: Sections) -> str:
    """A unit file; sections and settings in the order in which NixOS writes them."""
    order = sorted(sections, key=lambda name: ({"Unit": 0, "Install": 2}.get(name, 1), name))
    return "\n".join(_render_section(name, sections[name]) for name in order)


def _render_section(name: str, settings: dict[str, Setting]) -> str:
    lines = [f"[{name}]"]
    for setting, value in sorted(settings.items()):
        values = value if isinstance(value, list) else [value]
        if setting in _ONE_LINE:
            values = [" ".join(map(_show, values))] if values else []
        lines += [f"{setting}={_show(each)}" for each in values]
    return "".join(f"{line}\n" for line in lines)


def _show(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
