"""A union of option types as a flat ``anyOf``: which of its members Nix ever tries, and on what.

``either`` and ``coercedTo`` (nixpkgs ``lib/types.nix``) take the first member whose ``check`` holds and merge
with that one alone. ``check`` looks at the outermost kind of a list, a set or a submodule and at nothing in
it, so such a member ends what comes after it of its kind. One that accepts anything ends all that follows.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Set

    from ectools.names import JsonSchema

LEAST, GREATEST = -(2**63), 2**63 - 1
UNREPRESENTABLE = "x-nix-unrepresentable"
UNREACHABLE = "x-nix-unreachable"
COERCED = "x-nix-coerced"
ABSOLUTE = "^/"
"""The pattern of an absolute path."""
NOT_ABSOLUTE: JsonSchema = {"pattern": "^(?!/)"}
ANY_INTEGER: JsonSchema = {"type": "integer", "minimum": LEAST, "maximum": GREATEST}
FLOAT: JsonSchema = {"type": "number", "x-nix-float": True}
NUMBER: JsonSchema = {"type": "number"}

_EVERYTHING = "everything"
"""The outermost kind of a member that accepts any value; the other kinds are JSON Schema's types."""


class UnionSchema:
    """The alternatives of one union, added in the order in which Nix tries them.

    ``submodules`` are the references to objects that a whole submodule stands for, with no further check.
    """

    def __init__(self, submodules: Set[str]) -> None:
        self._submodules = submodules
        self._parts: list[JsonSchema] = []
        self._unreachable: list[str] = []
        self._taken: set[str] = set()
        self._imports = False

    def add(self, member: JsonSchema, description: str = "", *, coerced: bool = False) -> None:
        """Add the schema of a member; a union's own alternatives are added one by one.

        ``coerced``: its values are converted to those of the members that follow.
        """
        taken, imports = frozenset(self._taken), self._imports
        self._note(member.get(UNREACHABLE, ()))
        for part in _alternatives(member):
            kind = self._outermost(part)
            is_module = imports and part.get("pattern") == ABSOLUTE
            if _EVERYTHING in taken or kind in taken or is_module:
                self._note([description or part.get("type", "")])
                continue
            if kind is not None:
                self._taken.add(kind)
            if not coerced and part.get("$ref") in self._submodules and COERCED not in part:
                # A submodule takes any absolute path, as a module to import.
                self._imports = True
            shown = {**part, COERCED: True} if coerced else part
            if imports and part.get("type") == "string":
                shown = {"allOf": [shown, NOT_ABSOLUTE]}
            if not any(is_same(shown, other) for other in self._parts):
                self._parts.append(shown)

    def build(self) -> JsonSchema:
        """The schema of the union."""
        parts = self._parts
        if FLOAT in parts and ANY_INTEGER in parts:
            parts = [NUMBER if part == FLOAT else part for part in parts if part != ANY_INTEGER]
        marks: JsonSchema = {UNREACHABLE: self._unreachable} if self._unreachable else {}
        return {"anyOf": parts, **marks} if len(parts) > 1 else {**parts[0], **marks}

    def _note(self, unreachable: Any) -> None:
        self._unreachable += [each for each in unreachable if each not in self._unreachable]

    def _outermost(self, part: JsonSchema) -> str | None:
        """The kind by which alone Nix decides for this alternative; None where it looks further."""
        if COERCED in part or UNREPRESENTABLE in part:
            # The conversion may yield what the union does not take, and a check may look at anything.
            return None
        if accepts_everything(part):
            return _EVERYTHING
        if "$ref" in part:
            return "object" if part["$ref"] in self._submodules else None
        decided = part.get("type") in ("array", "object") and not part.keys() & {"minItems", "maxProperties"}
        return str(part["type"]) if decided else None


def accepts_everything(schema: JsonSchema) -> bool:
    """Whether a schema is nothing but marks: every value fits it."""
    return all(keyword.startswith("x-nix-") for keyword in schema)


def is_same(a: Any, b: Any) -> bool:
    """Whether two JSON values are the same, 1 and 1.0 and true apart, as Nix sees them."""
    # What Python does not call equal is not the same either, and needs no text: most are none.
    return a == b and json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


def _alternatives(member: JsonSchema) -> Iterator[JsonSchema]:
    """Those of a union; what is marked as a whole, or is no union, is one alternative."""
    if "anyOf" in member and member.keys() <= {"anyOf", UNREACHABLE}:
        yield from member["anyOf"]
    else:
        yield {keyword: value for keyword, value in member.items() if keyword != UNREACHABLE}
