"""The sections of a service's units, from the data that the NixOS modules read too, and the service's facts.

A file ``NAME.toml`` has ``users`` (name → description) of one ``group``, ``fragments``, and ``units``: each a
list of items that are applied in order. An item sets ``SECTION.SETTING``, and appends to lists below ``add``;
``use`` names fragments that come before it. It counts where the fact that ``when`` names is true, and the
one that ``unless`` names is not. ``"${fact}"`` alone stands for the fact, of whatever type (in a list, the
items of one that is a list), and inside other text for its text. A unit without any item that counts is
none. nix/modules/units.nix does the same.
"""

from __future__ import annotations

import functools
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Setting = str | int | bool | list[str]
Sections = dict[str, dict[str, Setting]]
"""Section → setting → value, or the values of one that may stand several times."""

_FACT = re.compile(r"\$\{([A-Za-z]+)\}")


@functools.cache
def load_definition(name: str) -> Mapping[str, Any]:
    """The data of a service (``netboot``), or of ``common``."""
    text = (Path(__file__).parent / f"{name}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def build_sections(name: str, facts: Mapping[str, Any]) -> dict[str, Sections]:
    """Unit → its sections. Raises KeyError where the data asks for a fact that is not there."""
    definition = load_definition(name)
    fragments = {**load_definition("common")["fragments"], **definition["fragments"]}
    units: dict[str, Sections] = {}
    for unit, items in definition["units"].items():
        sections: Sections = {}
        for fragment in _expand(items, fragments, facts):
            _apply(sections, fragment, facts)
        if sections:
            units[unit] = sections
    return units


def _expand(
    items: list[Mapping[str, Any]], fragments: Mapping[str, Any], facts: Mapping[str, Any]
) -> Iterator[Mapping[str, Any]]:
    for item in items:
        if ("when" in item and not facts[item["when"]]) or ("unless" in item and facts[item["unless"]]):
            continue
        yield from (fragments[used] for used in item.get("use", ()))
        yield {key: value for key, value in item.items() if key not in ("use", "when", "unless")}


def _apply(sections: Sections, fragment: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    for section, settings in fragment.items():
        if section != "add":
            sections.setdefault(section, {}).update(
                {setting: _evaluate(value, facts) for setting, value in settings.items()}
            )
    for section, settings in fragment.get("add", {}).items():
        there = sections.setdefault(section, {})
        for setting, value in settings.items():
            there[setting] = [*there.get(setting, []), *_evaluate(value, facts)]  # type: ignore[misc] # lists alone


def _evaluate(value: Any, facts: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        found = []
        for each in value:
            inner = _evaluate(each, facts)
            found += inner if isinstance(inner, list) else [inner]
        return found
    if not isinstance(value, str):
        return value
    alone = _FACT.fullmatch(value)
    return facts[alone[1]] if alone else _FACT.sub(lambda fact: str(facts[fact[1]]), value)
