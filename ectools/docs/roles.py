"""NixOS's additions to CommonMark in option descriptions: roles such as ``{option}`a.b``` and admonitions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ROLE = re.compile(r"\{([a-z]+)\}(`+)(.+?)(?<!`)\2(?!`)", re.DOTALL)
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")


def replace_roles(text: str, write: Callable[[str, str], str]) -> str:
    """``text`` with ``write(role, content)`` in the place of each role, code blocks untouched."""
    parts: list[tuple[bool, list[str]]] = [(False, [])]
    fence: str | None = None
    for line in text.splitlines(keepends=True):
        found = _FENCE.match(line)
        if fence is None and found:
            fence = found[1]
            parts.append((True, [line]))
        elif fence is not None and found and found[1].startswith(fence) and line.strip() == found[1]:
            fence = None
            parts[-1][1].append(line)
            parts.append((False, []))
        else:
            parts[-1][1].append(line)
    return "".join(
        "".join(lines) if is_code else ROLE.sub(lambda found: write(found[1], found[3]), "".join(lines))
        for is_code, lines in parts
    )
