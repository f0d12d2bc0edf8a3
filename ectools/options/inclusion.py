"""Whether all that one schema accepts is accepted by another, for the schemas that this package writes.

The answer errs on one side: where the rules below cannot tell, it is no.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from ectools.names import JsonSchema, resolve_reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jsonschema import ValidationError


class Inclusion:
    """Inclusion between the schemas of two documents, whose references each are its own."""

    def __init__(self, old: JsonSchema, new: JsonSchema) -> None:
        self._old = old
        self._new = new
        self._assumed: set[tuple[int, int]] = set()

    def reversed(self) -> Inclusion:
        """Inclusion the other way round."""
        return Inclusion(self._new, self._old)

    def holds(self, old: Any, new: Any, opaque: dict[int, int] | None = None) -> bool:
        """Whether ``new`` accepts all that ``old`` does.

        ``opaque`` pairs the ids of objects whose inside is not to be looked at: such a pair counts as equal.
        """
        opaque = opaque or {}
        old, new = _follow(old, self._old), _follow(new, self._new)
        if opaque.get(id(old)) == id(new) or (id(old), id(new)) in self._assumed:
            return True
        if new is True or new == {} or old is False:
            return True
        if not isinstance(old, dict) or not isinstance(new, dict):
            return False
        # A type that holds itself is included unless something else says no.
        self._assumed.add((id(old), id(new)))
        try:
            return self._parts(old, new, opaque)
        finally:
            self._assumed.discard((id(old), id(new)))

    def _parts(  # noqa: PLR0911 - one rule a line
        self, old: JsonSchema, new: JsonSchema, opaque: dict[int, int]
    ) -> bool:
        inside = functools.partial(self.holds, opaque=opaque)
        if "anyOf" in old:
            return all(inside(branch, new) for branch in old["anyOf"])
        if "enum" in old:
            return all(self._accepts(new, value) for value in old["enum"])
        if "allOf" in new:
            return all(inside(old, part) for part in new["allOf"])
        if "allOf" in old and any(inside(part, new) for part in old["allOf"]):
            return True
        if "anyOf" in new:
            return any(inside(old, branch) for branch in new["anyOf"])
        if "allOf" in old:
            return False
        if "enum" in new or old.get("not") != new.get("not"):
            return False
        kinds = (old.get("type"), new.get("type"))
        if kinds[1] is not None and kinds[0] != kinds[1] and kinds != ("integer", "number"):
            return False
        if new.get("x-nix-float") and not old.get("x-nix-float"):
            return False  # Nix takes 1.0 there, and not 1
        return (
            _bounds_within(old, new)
            and new.get("pattern") in (None, old.get("pattern"))
            and old.get("minItems", 0) >= new.get("minItems", 0)
            and inside(old.get("items", {}), new.get("items", {}))
            and self._object_within(old, new, opaque)
        )

    def _object_within(self, old: JsonSchema, new: JsonSchema, opaque: dict[int, int]) -> bool:
        before, after = old.get("properties", {}), new.get("properties", {})
        more_before, more_after = old.get("additionalProperties", True), new.get("additionalProperties", True)
        if not set(new.get("required", ())) <= set(old.get("required", ())):
            return False
        if new.get("maxProperties", 2**63) < old.get("maxProperties", 2**63):
            return False
        if new.get("minProperties", 0) > old.get("minProperties", 0):
            return False
        return self.holds(more_before, more_after, opaque) and all(
            self.holds(before.get(name, more_before), after.get(name, more_after), opaque)
            for name in {*before, *after}
        )

    def _accepts(self, schema: JsonSchema, value: Any) -> bool:
        return bool(_nix_validator()({**schema, "$defs": self._new.get("$defs", {})}).is_valid(value))


@functools.cache
def _nix_validator() -> Any:
    """jsonschema's validator class, but for Nix's two kinds of numbers: 1.0 is no integer, and 1 no float."""
    from jsonschema import Draft202012Validator, validators

    checker = Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _checker, value: isinstance(value, int) and not isinstance(value, bool)
    )
    extend: Any = validators.extend  # its stub is untyped
    return extend(Draft202012Validator, {"x-nix-float": _reject_integer}, type_checker=checker)


def _reject_integer(_validator: Any, _wanted: Any, value: Any, _schema: Any) -> Iterator[ValidationError]:
    """The keyword ``x-nix-float`` for jsonschema."""
    from jsonschema import ValidationError

    if isinstance(value, int):
        yield ValidationError("an integer where Nix wants a floating point number")


def _follow(node: Any, root: JsonSchema) -> Any:
    while isinstance(node, dict) and "$ref" in node:
        node = resolve_reference(node["$ref"], root)
    return node


def _bounds_within(old: JsonSchema, new: JsonSchema) -> bool:
    low_old, low_new = _lower(old), _lower(new)
    high_old, high_new = old.get("maximum"), new.get("maximum")
    if low_new is not None and (low_old is None or low_old < low_new):
        return False
    return high_new is None or (high_old is not None and high_old <= high_new)


def _lower(schema: JsonSchema) -> tuple[float, bool] | None:
    """The lower bound, a strict one counting as more than a plain one of the same number."""
    if "exclusiveMinimum" in schema:
        return (schema["exclusiveMinimum"], True)
    return (schema["minimum"], False) if "minimum" in schema else None
