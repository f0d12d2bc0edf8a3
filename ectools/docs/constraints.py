"""What a schema demands of an option's value, as fields of their own rather than as prose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ectools.names import resolve
from ectools.nixlang import render

if TYPE_CHECKING:
    from collections.abc import Iterator

_GREATEST = 2**63 - 1


@dataclass(frozen=True)
class Constraint:
    """One demand. ``of`` says what it is made of where that is not the value itself: ``each item``.

    ``values`` are Nix literals or, for a pattern, the regular expression; ``note`` is set for mere words.
    """

    label: str
    values: tuple[str, ...]
    of: str = ""
    note: bool = False


def find_constraints(option: dict[str, Any], root: dict[str, Any]) -> Iterator[Constraint]:
    """The demands on an option's value, outermost first; those in a submodule belong to its own options."""
    yield from _constraints(option, root, "")


def _constraints(node: Any, root: dict[str, Any], of: str) -> Iterator[Constraint]:
    if not isinstance(node, dict):
        return
    if "$ref" in node:
        target = resolve(node["$ref"], root)
        if "properties" not in target and "anyOf" not in target:
            yield from _constraints(target, root, of)
        return
    if "enum" in node:
        yield Constraint("one of", tuple(render(value) for value in node["enum"]), of)
    yield from _numeric(node, of)
    if "pattern" in node:
        yield Constraint("pattern", (_readable(node["pattern"]),), of)
    if "pattern" in node.get("not", {}):
        yield Constraint("not of the pattern", (_readable(node["not"]["pattern"]),), of)
    if "minItems" in node:
        yield Constraint("items at least", (str(node["minItems"]),), of)
    if "x-nix-sep" in node and node["x-nix-sep"] not in ("", "\n"):
        yield Constraint("definitions are joined with", (render(node["x-nix-sep"]),), of)
    if "x-nix-unrepresentable" in node:
        yield Constraint("not in the schema", (node["x-nix-unrepresentable"],), of, note=True)
    for branch in (*node.get("anyOf", ()), *node.get("allOf", ())):
        yield from _constraints(branch, root, of)
    yield from _constraints(node.get("items"), root, "each item")
    yield from _constraints(node.get("additionalProperties"), root, "each value")


def _numeric(node: dict[str, Any], of: str) -> Iterator[Constraint]:
    if "minimum" in node and node["minimum"] != -_GREATEST - 1:
        yield Constraint("minimum", (render(node["minimum"]),), of)
    if "exclusiveMinimum" in node:
        yield Constraint("greater than", (render(node["exclusiveMinimum"]),), of)
    if "maximum" in node and node["maximum"] != _GREATEST:
        yield Constraint("maximum", (render(node["maximum"]),), of)


def _readable(pattern: str) -> str:
    """A pattern without the anchoring that every translated one has."""
    return pattern.removeprefix("^(?:").removesuffix(")$(?!\\n)") if pattern.startswith("^(?:") else pattern
