"""Options that were renamed or removed, as ``lib.mkRenamedOptionModule`` and its kin leave them behind.

nixpkgs has no field for it (lib/modules.nix, ``doRename``): what an alias stands for is in its description
alone, and an option that was removed is hidden and has nothing, neither type nor default nor description.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ectools.names import JsonSchema, show_path

if TYPE_CHECKING:
    from collections.abc import Mapping

OptionPath = tuple[str, ...]
_ALIAS = re.compile(r"Alias of (?:\{option\}`|<option>)(?P<name>.+?)(?:`|</option>)\.?")
_SAYS = {"description", "type", "enum", "anyOf", "allOf", "$ref", "default", "examples", "x-nix-default-text"}


def find_renames(
    before: Mapping[OptionPath, JsonSchema], after: Mapping[OptionPath, JsonSchema]
) -> dict[OptionPath, OptionPath]:
    """Options of ``before`` that are aliases of options of ``after`` now, and were not, with these."""
    names = {show_path(path): path for path in after}
    found = {}
    for path, option in after.items():
        name = _alias_of(option)
        if name in names and names[name] != path and path in before and _alias_of(before[path]) != name:
            found[path] = names[name]
    return found


def is_removed(option: JsonSchema) -> bool:
    """Whether nothing may be set there any more."""
    return option.get("x-nix-visible") is False and not _SAYS & option.keys()


def _alias_of(option: JsonSchema) -> str | None:
    description = option.get("description")
    described = _ALIAS.fullmatch(description.strip()) if isinstance(description, str) else None
    return None if described is None else described["name"]
