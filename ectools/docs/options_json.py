"""The reference as nixpkgs' ``nixosOptionsDoc`` writes it: ``options.json``, which other people's tools read.

Source: nixpkgs ``nixos/lib/make-options-doc`` (``default.nix``, ``mergeJSON.py``), and of ``lib``
``optionAttrSetToDocList``, ``renderOptionValue``, ``showOption`` and ``generators.toPretty``. Read by
nixos-render-docs, the search of NuschtOS and manix. optnix reads lib.optionAttrSetToDocList itself: a list,
whose items have their ``name``, and files alone as declarations.

    {NAME: {"declarations", "description", "loc", "readOnly", "type"}}

and, where an option has them, ``default``, ``example`` and ``relatedPackages`` (Markdown). ``default`` and
``example`` are {"_type": "literalExpression" or "literalMD", "text"}. ``declarations`` are files, relative to
their root, or {"name", "url"} where links to sources are known.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ectools.docs.model import parse_declaration
from ectools.docs.option_walk import OptionWalk
from ectools.docs.pretty import show_pretty, show_pretty_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ectools.docs.links import SourceUrl
    from ectools.docs.option_walk import FoundOption
    from ectools.docs.reference import Reference

OPTIONS_JSON_FILE = "options.json"

_NO_DESCRIPTION = "This option has no description."


def write_pages(reference: Reference) -> dict[str, str]:
    """The one file, by its name; options of several modules in one, as of one evaluation."""
    options: dict[str, Any] = {}
    for schema, settings in reference.schemas:
        root = schema.document
        walk = _NixpkgsWalk(root, internal=settings.internal)
        for found in walk.find_options(tuple(root.get("x-nix-path", ()))):
            options.setdefault(_show_option(found.path), _describe(found, settings.source_url))
    # Nix sorts names by their bytes.
    return {OPTIONS_JSON_FILE: json.dumps(dict(sorted(options.items(), key=lambda item: item[0].encode())))}


def _show_option(path: tuple[str, ...]) -> str:
    """``lib.showOption``: placeholders as they are, other names as in Nix."""
    return ".".join(
        part if part == "*" or (part.startswith("<") and part.endswith(">")) else show_pretty_name(part)
        for part in path
    )


class _NixpkgsWalk(OptionWalk):
    """As ``getSubOptions`` of the types leads."""

    def find_options(self, path: tuple[str, ...]) -> Iterator[FoundOption]:
        # nixpkgs has no list of what a freeform type of the whole tree declares.
        return self.list_options(self.root, path, ())

    def enters_internal(self) -> bool:
        return True

    def choose_alternatives(self, node: dict[str, Any]) -> Sequence[Any]:
        # nixpkgs' `either` has no options of its own; `nullOr` and `coercedTo` have those of one type.
        # So has a type that is none of nixpkgs', of which else nothing is known.
        if "anyOf" not in node:
            return super().choose_alternatives(node)
        others = [
            each
            for each in node["anyOf"]
            if each and each.get("type") != "null" and "x-nix-coerced" not in each
        ]
        return others if len(others) == 1 else ()


def _describe(found: FoundOption, source_url: SourceUrl | None) -> dict[str, Any]:
    """One option, its keys in Nix's order."""
    option = found.schema
    described = {
        "declarations": [_show_declaration(place, source_url) for place in _list_modules(option)],
        "default": _literal(option, "default"),
        "description": option.get("description", _NO_DESCRIPTION),
        "example": _literal(option, "example"),
        "loc": list(found.path),
        "readOnly": option.get("readOnly", False),
        "relatedPackages": option.get("x-nix-related-packages"),
        "type": option["x-nix-type"],
    }
    return {key: value for key, value in described.items() if value is not None}


def _show_declaration(place: str, source_url: SourceUrl | None) -> str | dict[str, str]:
    declared = parse_declaration(place, source_url)
    return declared.file if declared.url is None else {"name": declared.file, "url": declared.url}


def _list_modules(option: dict[str, Any]) -> list[str]:
    """The files of the modules that declare an option; with the line where that is in the same file."""
    places: list[str] = option.get("x-nix-modules", option.get("x-nix-declarations", []))
    return places


def _literal(option: dict[str, Any], field: str) -> dict[str, str] | None:
    """A default or an example as ``renderOptionValue`` makes it; None where there is none."""
    values = [option["default"]] if field == "default" and "default" in option else option.get("examples", [])
    if field == "example" or "default" in option:
        for value in values[:1]:
            return {"_type": "literalExpression", "text": show_pretty(value)}
    if f"x-nix-{field}-text" in option:
        return {"_type": "literalExpression", "text": option[f"x-nix-{field}-text"]}
    if f"x-nix-{field}-markdown" in option:
        return {"_type": "literalMD", "text": option[f"x-nix-{field}-markdown"]}
    if field == "default" and "x-nix-empty" in option:
        # So nixpkgs does since 2026-03, when the module system began to take it for the default.
        return {"_type": "literalExpression", "text": show_pretty(option["x-nix-empty"])}
    return None
