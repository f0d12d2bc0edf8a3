"""Whether one schema accepts all that another does, rule by rule; what cannot be told is no."""

from __future__ import annotations

from typing import Any

import pytest

from ectools.options.inclusion import Inclusion

INT = {"type": "integer", "minimum": 0, "maximum": 10}
NUMBER = {"type": "number"}
FLOAT = {"type": "number", "x-nix-float": True}
TEXT = {"type": "string"}
ABSOLUTE = {"type": "string", "pattern": "^/"}


def included(old: Any, new: Any) -> bool:
    return Inclusion({}, {}).holds(old, new)


def sealed(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False, **more}


def array(items: Any, **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, **more}


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        (INT, {**INT, "minimum": -1}),
        (INT, {**INT, "maximum": 11}),
        (INT, {"type": "integer", "minimum": 0}),
        (INT, {"type": "integer", "maximum": 10}),
        (INT, {"type": "number", "minimum": 0, "maximum": 10}),
        ({"type": "number", "exclusiveMinimum": 0}, {"type": "number", "minimum": 0}),
        ({"type": "number", "exclusiveMinimum": 0}, {"type": "number", "exclusiveMinimum": -1}),
        ({"type": "number", "minimum": 1}, {"type": "number", "exclusiveMinimum": 0}),
        (INT, {"anyOf": [TEXT, INT]}),
        ({"anyOf": [TEXT, INT]}, {"anyOf": [INT, {"type": "null"}, TEXT]}),
        ({"enum": ["a", 1]}, {"enum": [1, "b", "a"]}),
        ({"enum": ["a", 1]}, {"anyOf": [TEXT, INT]}),
        ({"enum": [1]}, {"enum": [1, True]}),
        ({"enum": [True]}, {"enum": [1, True]}),
        ({"enum": ["/a"]}, ABSOLUTE),
        ({"enum": [1.5]}, FLOAT),
        (FLOAT, NUMBER),
        (TEXT, True),
        ({"allOf": [ABSOLUTE, {"pattern": "^[^:]*$"}]}, ABSOLUTE),
        ({"allOf": [ABSOLUTE, {"pattern": "^[^:]*$"}]}, {"anyOf": [INT, TEXT]}),
        (array(INT), array(NUMBER)),
        (array(INT, minItems=1), array(INT)),
        (array(INT, minItems=2), array(INT, minItems=1)),
        (array(INT), {"type": "array"}),
        (sealed({"a": INT}), {"type": "object"}),
        (sealed({"a": INT}), sealed({"a": NUMBER})),
        (sealed({"a": INT}), sealed({"a": INT, "b": TEXT})),
        (sealed({"a": INT}), {"type": "object", "additionalProperties": INT}),
        (sealed({"a": INT}), {**sealed({"a": INT}), "additionalProperties": TEXT}),
        (sealed({"a": INT}, required=["a"]), sealed({"a": INT})),
        (sealed({"a": INT, "b": INT}, required=["b", "a"]), sealed({"a": INT, "b": INT}, required=["a"])),
        ({"type": "object", "additionalProperties": INT}, {"type": "object", "additionalProperties": {}}),
        ({"type": "object", "maxProperties": 1}, {"type": "object", "maxProperties": 2}),
        ({"type": "object", "maxProperties": 1}, {"type": "object"}),
        ({"type": "object", "minProperties": 2}, {"type": "object", "minProperties": 1}),
        ({"type": "object", "minProperties": 1}, {"type": "object"}),
        ({"type": "string", "not": {"pattern": "x"}, "pattern": "^/"}, {**TEXT, "not": {"pattern": "x"}}),
        (TEXT, {}),
        (False, TEXT),
        (INT, {"description": "of no type", "maximum": 10}),
    ],
)
def test_the_narrow_is_within_the_wide_and_not_the_other_way_round(narrow: Any, wide: Any) -> None:
    assert included(narrow, wide)
    assert not included(wide, narrow)
    assert included(narrow, narrow)
    assert included(wide, wide)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (INT, TEXT),
        (INT, FLOAT),
        ({"enum": [1]}, {"enum": [True]}),
        ({"enum": [1]}, FLOAT),
        ({"enum": [1.0]}, INT),
        ({"enum": [True]}, INT),
        (ABSOLUTE, {"type": "string", "pattern": "^[^:]*$"}),
        ({**TEXT, "not": {"pattern": "x"}}, {**TEXT, "not": {"pattern": "y"}}),
        ({**INT, "minimum": 1}, {**INT, "maximum": 9}),
        (array(INT), array(TEXT)),
        (array(INT, minItems=1), array({**INT, "maximum": 1})),
        (sealed({"a": INT}), sealed({"b": INT})),
        (sealed({"a": INT}, required=["a"]), sealed({"a": INT, "b": INT}, required=["b"])),
        (sealed({"a": INT, "b": TEXT}), {"type": "object", "additionalProperties": INT}),
        ({"anyOf": [TEXT, INT]}, {"anyOf": [TEXT, {"type": "null"}]}),
        ({"allOf": [INT, {"pattern": "^/"}]}, ABSOLUTE),
        (NUMBER, ABSOLUTE),
        ({"pattern": "^/"}, TEXT),
    ],
)
def test_neither_is_within_the_other(a: Any, b: Any) -> None:
    assert not included(a, b)
    assert not included(b, a)


def test_all_parts_of_what_is_wanted_must_hold() -> None:
    both = {"allOf": [TEXT, {"pattern": "^/"}]}
    assert included(ABSOLUTE, both)
    assert not included(TEXT, both)
    assert included({"allOf": [TEXT, {"pattern": "^/"}]}, both)


def test_no_rule_for_an_enumeration_that_values_of_a_type_might_all_be_in() -> None:
    assert not included({"type": "null"}, {"enum": [None]})
    assert not included({"type": "boolean"}, {"enum": [True, False]})


def test_references_are_each_documents_own() -> None:
    old = {"$defs": {"x": INT, "y": {"$ref": "#/$defs/x"}}}
    new = {"$defs": {"x": NUMBER, "y": TEXT}}
    inclusion = Inclusion(old, new)
    assert inclusion.holds({"$ref": "#/$defs/y"}, {"$ref": "#/$defs/x"})
    assert not inclusion.holds({"$ref": "#/$defs/x"}, {"$ref": "#/$defs/y"})
    assert inclusion.holds({"enum": ["a"]}, {"anyOf": [{"$ref": "#/$defs/y"}]})
    assert not inclusion.holds({"enum": ["a"]}, {"anyOf": [{"$ref": "#/$defs/x"}]})
    turned = inclusion.reversed()
    assert not turned.holds({"$ref": "#/$defs/x"}, {"$ref": "#/$defs/y"})
    assert turned.holds({"$ref": "#/$defs/y"}, TEXT)


def test_types_that_hold_themselves_end() -> None:
    def tree(value: Any) -> dict[str, Any]:
        return {"$defs": {"t": sealed({"v": value, "next": array({"$ref": "#/$defs/t"})})}}

    root = {"$ref": "#/$defs/t"}
    assert Inclusion(tree(INT), tree(NUMBER)).holds(root, root)
    wrong = Inclusion(tree(NUMBER), tree(INT))
    assert not wrong.holds(root, root)
    # What was assumed on the way is no knowledge: it is forgotten.
    assert not wrong.holds(root, root)
    assert not wrong.holds(array(root), array(root))


def test_an_opaque_pair_counts_as_equal_and_no_other_does() -> None:
    old, new, other = sealed({"a": INT}), sealed({"a": TEXT}), sealed({"a": TEXT})
    opaque = {id(old): id(new)}
    inclusion = Inclusion({}, {})
    assert inclusion.holds(old, new, opaque)
    assert not inclusion.holds(old, other, opaque)
    for wrap in (
        array,
        lambda node: {"anyOf": [{"type": "null"}, node]},
        lambda node: {"allOf": [node, {"pattern": "x"}]},
        lambda node: {"type": "object", "additionalProperties": node},
        lambda node: sealed({"k": node}),
    ):
        assert inclusion.holds(wrap(old), wrap(new), opaque)
        assert not inclusion.holds(wrap(old), wrap(other), opaque)
