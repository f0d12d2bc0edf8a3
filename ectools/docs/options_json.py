"""The reference as nixpkgs' ``nixosOptionsDoc`` writes it: ``options.json``, which other people's tools read.

Source: nixpkgs ``nixos/lib/make-options-doc`` (``default.nix``, ``mergeJSON.py``), and of ``lib``
``optionAttrSetToDocList``, ``renderOptionValue``, ``showOption`` and ``generators.toPretty``. Read by
nixos-render-docs, the search of NuschtOS, optnix and manix.

    {NAME: {"declarations", "description", "loc", "readOnly", "type"}}

and, where an option has them, ``default``, ``example`` and ``relatedPackages`` (Markdown). ``default`` and
``example`` are {"_type": "literalExpression" or "literalMD", "text"}. ``declarations`` are files, relative to
their root, or {"name", "url"} where links to sources are known.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ectools.docs.model import show_placeholder
from ectools.docs.pretty import show_pretty, show_pretty_name
from ectools.names import resolve_reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ectools.docs.model import DocSettings
    from ectools.docs.reference import Reference

OPTIONS_JSON_FILE = "options.json"

_NO_DESCRIPTION = "This option has no description."


def write_pages(reference: Reference) -> dict[str, str]:
    """The one file, by its name; options of several modules in one, as of one evaluation."""
    options: dict[str, Any] = {}
    for schema, settings in reference.schemas:
        document = schema.document
        walker = _Walker(document, settings)
        for path, option in walker.objects(document, tuple(document.get("x-nix-path", ())), ()):
            options.setdefault(_show_option(path), walker.describe(option, path))
    # Nix sorts names by their bytes.
    return {OPTIONS_JSON_FILE: json.dumps(dict(sorted(options.items(), key=lambda item: item[0].encode())))}


def _show_option(path: tuple[str, ...]) -> str:
    """``lib.showOption``: placeholders as they are, other names as in Nix."""
    return ".".join(
        part if part == "*" or (part.startswith("<") and part.endswith(">")) else show_pretty_name(part)
        for part in path
    )


class _Walker:
    """Through one document, as ``getSubOptions`` of the types leads."""

    def __init__(self, root: dict[str, Any], settings: DocSettings) -> None:
        self.root = root
        self.settings = settings

    def objects(
        self, node: dict[str, Any], path: tuple[str, ...], inside: tuple[int, ...]
    ) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
        """The options of an object schema at ``path``; ``inside`` are the objects that led here."""
        if id(node) in inside:
            return
        inside = (*inside, id(node))
        for name, option in node.get("properties", {}).items():
            here = (*path, name)
            if "x-nix-type" not in option:
                yield from self.objects(option, here, inside)
                continue
            visible = option.get("x-nix-visible", True)
            is_shown = self.settings.internal or not option.get("x-nix-internal")
            if is_shown and visible in (True, "shallow"):
                yield here, option
            if visible in (True, "transparent"):
                for inner_path, inner in self._inner(option, here):
                    yield from self.objects(inner, inner_path, inside)

    def _inner(self, node: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
        if not isinstance(node, dict) or "x-nix-unreachable" in node:
            # What is never tried is a part of an `either`.
            return
        if "$ref" in node:
            node = resolve_reference(node["$ref"], self.root)
        further = node.get("additionalProperties")
        if "properties" in node:
            yield path, node
            # A freeform type's own.
            yield from self._inner(further, (*path, show_placeholder(node)))
        elif "anyOf" in node:
            # nixpkgs' `either` has no options of its own; `nullOr` and `coercedTo` have those of one type.
            # So has a type that is none of nixpkgs', of which else nothing is known.
            others = [
                each
                for each in node["anyOf"]
                if each and each.get("type") != "null" and "x-nix-coerced" not in each
            ]
            if len(others) == 1:
                yield from self._inner(others[0], path)
        elif "allOf" in node:
            for each in node["allOf"]:
                yield from self._inner(each, path)
        else:
            yield from self._inner(node.get("items"), (*path, "*"))
            yield from self._inner(further, (*path, show_placeholder(node)))

    def describe(self, option: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
        """One option, its keys in Nix's order."""
        described = {
            "declarations": [self._declaration(place) for place in _list_modules(option)],
            "default": _literal(option, "default"),
            "description": option.get("description", _NO_DESCRIPTION),
            "example": _literal(option, "example"),
            "loc": list(path),
            "readOnly": option.get("readOnly", False),
            "relatedPackages": option.get("x-nix-related-packages"),
            "type": option["x-nix-type"],
        }
        return {key: value for key, value in described.items() if value is not None}

    def _declaration(self, place: str) -> str | dict[str, str]:
        file, _, line = place.partition("#L")
        source_url = self.settings.source_url
        if source_url is None or file.startswith("/"):
            return file
        return {"name": file, "url": source_url.fill(file, int(line) if line.isdigit() else None)}


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
