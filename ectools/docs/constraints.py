"""What a schema demands of an option's value, as fields of their own rather than as prose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ectools.names import resolve_reference
from ectools.nixlang import render

if TYPE_CHECKING:
    from collections.abc import Iterator

_GREATEST = 2**63 - 1
_PACKAGE = "^/nix/store/[0-9abcdf"
"""What the pattern of a package starts with (``ectools.options.types.STORE_PATH``)."""
_PATTERN = "pattern"
_NOT_PATTERN = "not of the pattern"
_NOTE = "not in the schema"
_AS_IT_IS = {_PATTERN, _NOT_PATTERN, _NOTE}
_LENGTHS = {
    "minLength": "characters at least",
    "maxLength": "characters at most",
    "minItems": "items at least",
    "maxItems": "items at most",
}
# Without one of these keywords, which is so for most options, there is nothing to look for.
_DEMANDS = {
    *("$ref", "anyOf", "allOf", "items", "additionalProperties"),
    *("enum", "minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "pattern", "not"),
    *_LENGTHS,
    *("x-nix-sep", "x-nix-unrepresentable"),
}


@dataclass(frozen=True)
class Constraint:
    """One demand. ``of`` says what it is made of where that is not the value itself: ``each item``.

    ``data`` are JSON values: numbers, those of an enum, a regular expression. ``note`` is set for mere words.
    """

    label: str
    data: tuple[Any, ...]
    of: str = ""
    note: bool = False

    @property
    def values(self) -> tuple[str, ...]:
        """The data as people read it: Nix literals or, for a pattern, the regular expression."""
        return tuple(map(str if self.label in _AS_IT_IS else render, self.data))

    @property
    def title(self) -> str:
        """``Each item, minimum``."""
        label = f"{self.of}, {self.label}" if self.of else self.label
        return label[0].upper() + label[1:]


def find_constraints(option: dict[str, Any], root: dict[str, Any]) -> Iterator[Constraint]:
    """The demands on an option's value, outermost first; those in a submodule belong to its own options."""
    yield from _constraints(option, root, "", ())


def _constraints(node: Any, root: dict[str, Any], of: str, inside: tuple[str, ...]) -> Iterator[Constraint]:
    """``inside`` are the references that led here, so that a type which holds itself ends."""
    if not isinstance(node, dict) or _DEMANDS.isdisjoint(node):
        return
    if "$ref" in node:
        target = resolve_reference(node["$ref"], root)
        if node["$ref"] not in inside and "properties" not in target and "anyOf" not in target:
            yield from _constraints(target, root, of, (*inside, node["$ref"]))
        return
    if "enum" in node:
        yield Constraint("one of", tuple(node["enum"]), of)
    yield from _numeric(node, of)
    # That of a package says no more than its type's name, in many more letters.
    if "pattern" in node and not str(node["pattern"]).startswith(_PACKAGE):
        yield Constraint(_PATTERN, (_readable(node["pattern"]),), of)
    if "pattern" in node.get("not", {}):
        yield Constraint(_NOT_PATTERN, (_readable(node["not"]["pattern"]),), of)
    for keyword, label in _LENGTHS.items():
        if keyword in node:
            yield Constraint(label, (node[keyword],), of)
    if node.get("x-nix-sep", "") not in ("", "\n"):
        yield Constraint("definitions are joined with", (node["x-nix-sep"],), of)
    if "x-nix-unrepresentable" in node:
        yield Constraint(_NOTE, (node["x-nix-unrepresentable"],), of, note=True)
    for branch in (*node.get("anyOf", ()), *node.get("allOf", ())):
        yield from _constraints(branch, root, of, inside)
    yield from _constraints(node.get("items"), root, "each item", inside)
    yield from _constraints(node.get("additionalProperties"), root, "each value", inside)


def _numeric(node: dict[str, Any], of: str) -> Iterator[Constraint]:
    if "minimum" in node and node["minimum"] != -_GREATEST - 1:
        yield Constraint("minimum", (node["minimum"],), of)
    if "exclusiveMinimum" in node:
        yield Constraint("greater than", (node["exclusiveMinimum"],), of)
    if "maximum" in node and node["maximum"] != _GREATEST:
        yield Constraint("maximum", (node["maximum"],), of)
    if "exclusiveMaximum" in node:
        yield Constraint("less than", (node["exclusiveMaximum"],), of)


def _readable(pattern: str) -> str:
    """A pattern without the anchoring that every translated one has."""
    return pattern.removeprefix("^(?:").removesuffix(")$(?!\\n)") if pattern.startswith("^(?:") else pattern
