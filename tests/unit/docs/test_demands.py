"""What the reference says that a value must be, beside the name of its type."""

from __future__ import annotations

from ectools.docs.constraints import find_constraints
from ectools.options.types import STORE_PATH


def test_a_package_is_no_regular_expression() -> None:
    package = {"type": "string", "pattern": STORE_PATH}
    union = {"anyOf": [{"type": "null"}, package, {"type": "array", "items": package}]}
    assert list(find_constraints(package, {})) == []
    assert list(find_constraints(union, {})) == []


def test_other_patterns_are_told() -> None:
    for pattern in ("^/nix/store/[^.]", "^[a-z]+$"):
        (constraint,) = find_constraints({"type": "string", "pattern": pattern}, {})
        assert (constraint.label, constraint.data) == ("pattern", (pattern,))
