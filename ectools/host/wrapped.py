"""The settings of one service alone, taken for the host description that has them at their place."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ectools.documents.source_map import SourceMap, SourceMapped
from ectools.host.combined_schema import find_option, follow_path, is_package
from ectools.settings_file import SERVICES, STORE_PATTERN

if TYPE_CHECKING:
    from ectools.documents.load import HostDescription
    from ectools.schemas import Schema


def wrap_settings(description: HostDescription, schema: Schema) -> HostDescription:
    """``description`` with its options below their service, which is enabled, where it holds one service's.

    They are told by their names. What Nix has built (a package's path in the store) is left out: in a host
    description packages are named, and a default is the same one. A host description stays as it is.
    """
    name = _find_service(description.root.value, schema)
    if name is None:
        return description
    place = (*SERVICES, name)
    option = find_option(schema.document, place)
    value = {"enable": True, **_without_store(description.root.value, option, schema.document)}
    root = description.root

    def read_source_map() -> SourceMap:
        found = root.source_map
        return SourceMap(
            keys={(*place, *each): position for each, position in found.keys.items()},
            values={(*place, *each): position for each, position in found.values.items()},
        )

    wrapped: Any = value
    for step in reversed(place):
        wrapped = {step: wrapped}
    return replace(description, root=SourceMapped(wrapped, read_source_map))


def _find_service(value: dict[str, Any], schema: Schema) -> str | None:
    """The service of whose options ``value`` has the most; None: of none, of two, or a host description."""
    if SERVICES[0] in value:
        return None
    services = find_option(schema.document, SERVICES).get("properties", {})
    counted = {
        name: len(value.keys() & follow_path(service, schema.document).get("properties", {}).keys())
        for name, service in services.items()
    }
    most = max(counted.values(), default=0)
    best = [name for name, count in counted.items() if count == most > 0]
    return best[0] if len(best) == 1 else None


def _without_store(value: dict[str, Any], option: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    kept = {}
    for name, inner in value.items():
        below = follow_path(option.get("properties", {}).get(name), document)
        if isinstance(inner, dict) and "properties" in below:
            kept[name] = _without_store(inner, below, document)
        elif not (is_package(below) and isinstance(inner, str) and re.match(STORE_PATTERN, inner)):
            kept[name] = inner
    return kept
