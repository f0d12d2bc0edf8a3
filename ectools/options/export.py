"""A tree of options as one JSON Schema document, the same text for the same options.

Keywords of its own, all starting with ``x-nix-``:

``path``             of a document: where its options stand, as a list of names
``type``             the type in nixpkgs' words; an object schema without it is a mere group of options
``default-text``     the default as a Nix expression, where it is not data;
``default-markdown`` or in words
``example-text``, ``example-markdown``  the same for the example
``declarations``     ``file#L12``, relative to the repository where it is in it
``internal``, ``visible``, ``related-packages``  as the option says
``coerced``          of an alternative: the option's value is what this is converted to, which may fail
``float``            integers are rejected by Nix: write 1.0
``sep``              what several definitions of a string are joined with
``unreachable``      alternatives that Nix never tries, because an earlier one decides by the outermost kind
``unrepresentable``  why the schema does not say all of what the type does
``broken``           the parts of the option that could not be evaluated
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import Any

from ectools.names import JsonSchema, show_path
from ectools.options.dump import Dump, Tree, decode_value
from ectools.options.types import TypeConverter
from ectools.options.unions import UNREPRESENTABLE

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_ADVICE = {
    "default": "its default needs a configuration or packages to evaluate: give it a defaultText",
    "description": "its description is not a text that evaluates",
    "example": "its example does not evaluate: write it as lib.literalExpression",
    "option": "it does not evaluate as an option at all",
    "rest": "its declaration does not evaluate",
    "type": "its type does not evaluate without a configuration",
}


@dataclass(frozen=True)
class ExportFinding:
    """An option of which a part could not be evaluated; the rest of it, and all others, are exported."""

    option: str
    part: str

    def render(self) -> str:
        return f"{self.option}: {_ADVICE[self.part]}"


@dataclass(frozen=True)
class Export:
    """One schema document, and what is missing from it."""

    name: str
    document: JsonSchema
    findings: tuple[ExportFinding, ...]

    def render(self) -> bytes:
        """The text of the schema file."""
        parts: list[str] = []
        _write_json(self.document, "\n", parts)
        return ("".join(parts) + "\n").encode()


def export_tree(dump: Dump, tree: Tree, *, output: bool = False) -> Export:
    """The schema of one tree of a dump. ``output``: of the values that options have once they are coerced."""
    builder = _Builder(dump, tree, output=output)
    root = builder.options_schema(tree.options, ())
    document: JsonSchema = {
        "$schema": DIALECT,
        "title": show_path(tree.path) or tree.name,
        "x-nix-path": list(tree.path),
        **root,
    }
    if builder.types.defs:
        document["$defs"] = dict(sorted(builder.types.defs.items()))
    return Export(tree.name, document, tuple(builder.findings))


class _Builder:
    def __init__(self, dump: Dump, tree: Tree, *, output: bool) -> None:
        self.dump = dump
        self.tree = tree
        self.types = TypeConverter(self.options_schema, output=output)
        self.findings: list[ExportFinding] = []

    def options_schema(self, options: list[dict[str, Any]], loc: tuple[str, ...]) -> JsonSchema:
        """An object schema of options whose paths are relative to ``loc``."""
        root = _group()
        for described in options:
            option = {field: value for field, value in described.items() if value is not None}
            group = root
            above = [root]
            *directories, name = option["path"]
            for directory in directories:
                group = group["properties"].setdefault(directory, _group())
                above.append(group)
            group["properties"][name] = self._option_schema(option, (*loc, *option["path"]))
            # Of a whole configuration no option must be set: modules set each other's, and Nix is lazy.
            if self.dump.required and (loc or self.tree.path) and self._is_required(option):
                for outer, required in zip(above, option["path"], strict=True):
                    if required not in outer["required"]:
                        outer["required"].append(required)
        return _without_empty_required(root)

    def _is_required(self, option: dict[str, Any]) -> bool:
        if "default" in option or option.get("defined") or option.get("readOnly") or option.get("broken"):
            return False
        if "type" not in option or option.get("visible") is False or option.get("internal"):
            # Hidden ones are aliases and removed options; internal ones are set by their module.
            return False
        return not (self.dump.empty_is_default and option.get("empty"))

    def _option_schema(self, option: dict[str, Any], loc: tuple[str, ...]) -> JsonSchema:
        broken = option.get("broken", [])
        shown = show_path((*self.tree.path, *loc))
        self.findings.extend(ExportFinding(shown, part) for part in broken)
        schema: JsonSchema = {}
        if "description" in option:
            schema["description"] = option["description"].rstrip()
        if "type" in option:
            schema.update(self.types.convert(option["type"], loc))
        elif "type" in broken or "option" in broken:
            schema[UNREPRESENTABLE] = "the type could not be evaluated"
        for field in ("default", "example"):
            if field in option:
                schema.update(_value(field, option[field]))
        if option.get("readOnly"):
            schema["readOnly"] = True
        # Always there, because it is what tells an option from a group of them.
        schema["x-nix-type"] = option.get("type", {}).get("description", "unspecified value")
        if option.get("internal"):
            schema["x-nix-internal"] = True
        if option.get("visible", True) is not True:
            schema["x-nix-visible"] = option["visible"]
        if "relatedPackages" in option:
            schema["x-nix-related-packages"] = option["relatedPackages"]
        places = (self._declaration(place) for place in option.get("declarations", []))
        schema["x-nix-declarations"] = [place for place in places if place is not None]
        if broken:
            schema["x-nix-broken"] = broken
        return schema

    def _declaration(self, place: dict[str, Any]) -> str | None:
        file: str = place["file"]
        if not file.startswith("/"):
            return None  # an expression that was given as text
        for root, prefix in self.dump.roots:
            if file.startswith(root):
                file = prefix + file.removeprefix(root)
                break
        return file if place["line"] is None else f"{file}#L{place['line']}"


def _write_json(value: Any, newline: str, parts: list[str]) -> None:
    """The text of ``json.dumps(value, indent=2, ensure_ascii=False)``, which takes twice as long.

    ``newline`` is the line break with the indent of the value; what is written is added to ``parts``.
    """
    inner = newline + "  "
    if type(value) is str:
        parts.append(encode_basestring(value))
    elif isinstance(value, dict) and value:
        lead = "{" + inner
        for name, item in value.items():
            if type(item) is str:
                parts.append(f"{lead}{encode_basestring(name)}: {encode_basestring(item)}")
            else:
                parts.append(f"{lead}{encode_basestring(name)}: ")
                _write_json(item, inner, parts)
            lead = "," + inner
        parts.append(newline + "}")
    elif isinstance(value, list) and value:
        lead = "[" + inner
        for item in value:
            parts.append(lead)
            _write_json(item, inner, parts)
            lead = "," + inner
        parts.append(newline + "]")
    elif value is True or value is False:
        parts.append("true" if value else "false")
    else:
        parts.append(json.dumps(value, ensure_ascii=False))


def _group() -> JsonSchema:
    return {"type": "object", "properties": {}, "required": [], "additionalProperties": False}


def _without_empty_required(group: JsonSchema) -> JsonSchema:
    if not group["required"]:
        del group["required"]
    for child in group["properties"].values():
        if "x-nix-type" not in child:
            _without_empty_required(child)
    return group


def _value(field: str, described: dict[str, Any]) -> JsonSchema:
    if "value" in described:
        value = decode_value(described["value"])
        return {"default": value} if field == "default" else {"examples": [value]}
    kind, text = next(iter(described.items()))
    return {f"x-nix-{field}-{kind}": text.strip()}
