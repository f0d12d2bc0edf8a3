"""A validator's errors in the words of options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from jsonschema import Draft202012Validator

from ectools.errors import UNSET, Problem
from ectools.explain import explain
from ectools.schema_words import describe, kind_of, show_value
from ectools.schemas import load_schema, schema_names

if TYPE_CHECKING:
    from collections.abc import Iterator

PORT = {"type": "integer", "minimum": 0, "maximum": 65535}
ANY_INTEGER = {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}


def problems(schema: dict[str, Any], value: Any, prefix: str = "s") -> list[Problem]:
    return explain(Draft202012Validator(schema).iter_errors(value), schema, prefix)


def sealed(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False, **more}


@pytest.mark.parametrize(
    ("value", "kind", "shown"),
    [
        (None, "null", "null"),
        (True, "a boolean", "true (a boolean)"),
        (1, "an integer", "1 (an integer)"),
        (1.0, "a floating point number", "1.0 (a floating point number)"),
        ("é", "a string", '"é" (a string)'),
        ([1], "a list", "[1] (a list)"),
        ({"a": 1}, "an object", '{"a": 1} (an object)'),
        ("x" * 78, "a string", f'"{"x" * 78}" (a string)'),
        ("x" * 79, "a string", f'"{"x" * 78}… (a string)'),
    ],
)
def test_a_value_and_its_kind(value: Any, kind: str, shown: str) -> None:
    assert kind_of(value) == kind
    assert show_value(value) == shown


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (True, "any value"),
        ({}, "any value"),
        (False, "nothing"),
        ({"type": "object"}, "an object"),
        ({"type": "boolean"}, "true or false"),
        ({"type": "null"}, "null"),
        (PORT, "an integer from 0 to 65535"),
        (ANY_INTEGER, "an integer of 64 bits"),
        ({"type": "integer"}, "an integer"),
        ({**ANY_INTEGER, "minimum": 1}, "an integer of at least 1"),
        ({**ANY_INTEGER, "maximum": 1}, "an integer of at most 1"),
        ({"type": "number"}, "a number"),
        ({"type": "number", "exclusiveMinimum": 0}, "a number greater than 0"),
        ({"type": "number", "minimum": -(2**63)}, f"a number of at least {-(2**63)}"),
        ({"enum": ["a"]}, '"a"'),
        ({"enum": ["é", 1, None]}, 'one of "é", 1, null'),
        ({"type": "array"}, "a list"),
        ({"type": "array", "items": PORT}, "a list, each an integer from 0 to 65535"),
        ({"type": "array", "items": {}, "minItems": 1}, "a list of at least one item"),
        ({"type": "array", "items": {"type": "null"}, "minItems": 0}, "a list, each null"),
        ({"type": "string"}, "a string"),
        ({"pattern": "^/"}, "an absolute path"),
        ({"type": "string", "pattern": "^(?!/)"}, "a string that does not begin with a slash"),
        ({"type": "string", "pattern": r"^(?:[a-z]+)$(?!\n)"}, "a string that matches [a-z]+"),
        ({"type": "string", "pattern": "x$"}, "a string that matches x$"),
        ({"anyOf": [{"type": "null"}, PORT, {"type": "null"}]}, "null or an integer from 0 to 65535"),
        ({"anyOf": [{"type": "null"}]}, "null"),
        (
            {"anyOf": [{"type": "null"}, {"type": "string"}, PORT]},
            "null, a string or an integer from 0 to 65535",
        ),
        ({"allOf": [{"type": "string"}, {"pattern": "^/"}]}, "a string that is also an absolute path"),
        ({"$ref": "#/$defs/x"}, "null"),
        ({"$ref": "#/$defs/self"}, "a list, each a list, each a value"),
    ],
)
def test_what_a_schema_takes(schema: Any, words: str) -> None:
    root = {"$defs": {"x": {"type": "null"}, "self": {"type": "array", "items": {"$ref": "#/$defs/self"}}}}
    assert describe(schema, root) == words


def test_a_bad_value_is_named_with_what_was_expected() -> None:
    (problem,) = problems(sealed({"a": {"type": "array", "items": PORT}}), {"a": [1, 70000]})
    assert problem == Problem(
        option="s.a[1]", message="is 70000 (an integer)", value=70000, expected="an integer from 0 to 65535"
    )
    (problem,) = problems({"type": "object"}, 3, prefix="")
    assert problem.option == "document"


def test_unknown_names_are_all_named_with_one_that_is_near() -> None:
    schema = sealed({"listenPort": PORT, "inner": sealed({"deep": PORT}), **{f"o{n}": {} for n in range(7)}})
    found = {
        problem.option: problem.hint
        for problem in problems(schema, {"listenprt": 1, "LISTENPORT": 2, "deep": 3, "zzzzzz": 4, "o1": 5})
    }
    assert found == {
        "s.listenprt": "did you mean s.listenPort?",
        "s.LISTENPORT": "did you mean s.listenPort?",
        "s.deep": "did you mean s.inner.deep?",
        "s.zzzzzz": None,
    }
    (problem,) = problems(sealed({"a": {}, "b": {}}), {"zzzzzz": {"x": 1}})
    assert problem.hint == "the names here are: a, b"
    assert (problem.message, problem.value, problem.expected) == ("there is no such option", {"x": 1}, None)
    (problem,) = problems(sealed({}), {"a": 1})
    assert (problem.expected, problem.hint) == ("no name at all", None)
    eight = sealed({f"o{n}": {} for n in range(8)})
    assert str(problems(eight, {"zzzzzz": 1})[0].hint).startswith("the names here are: o0, o1")


def test_each_name_that_is_missing_is_named_once() -> None:
    schema = sealed({"a": PORT, "b": {"type": "null"}}, required=["a", "b", "c"])
    found = problems(schema, {"b": None})
    assert [(problem.option, problem.expected) for problem in found] == [
        ("s.a", "an integer from 0 to 65535"),
        ("s.c", "any value"),
    ]
    assert {problem.message for problem in found} == {"is missing and has no default"}
    assert all(problem.value is UNSET for problem in found)


@pytest.mark.parametrize(
    ("schema", "value", "hint"),
    [
        ({"enum": ["stable", "beta"]}, "stabel", 'did you mean "stable"?'),
        ({"anyOf": [{"type": "null"}, {"enum": ["é-a"]}]}, "é-b", 'did you mean "é-a"?'),
        ({"enum": ["stable"]}, "x", None),
        (PORT, "80", "write 80 without quotes"),
        (PORT, "-0", "write -0 without quotes"),
        (PORT, "080", None),
        (PORT, "true", None),
        (PORT, "1" * 19, f"write {'1' * 19} without quotes"),
        (PORT, "1" * 20, None),
        ({"type": "boolean"}, "false", "write false without quotes"),
        ({"type": "boolean"}, "1", None),
        ({"type": "number"}, "1", "write 1 without quotes"),
        ({"type": "null"}, "1", None),
        ({"type": "string"}, 80, 'put it in quotes: "80"'),
        ({"type": "string"}, True, 'put it in quotes: "true"'),
        ({"type": "string"}, None, None),
        ({"type": "string", "pattern": "^/"}, "80", None),
    ],
)
def test_what_was_probably_meant(schema: dict[str, Any], value: Any, hint: str | None) -> None:
    (problem,) = problems(sealed({"a": schema}), {"a": value})
    assert problem.hint == hint


class TestAlternatives:
    SCHEMA = sealed(
        {
            "a": {
                "anyOf": [
                    {"type": "null"},
                    sealed({"port": PORT, "name": {"type": "string"}}, required=["port"]),
                    {"type": "array", "items": PORT},
                ]
            }
        }
    )

    def test_none_came_past_the_value_itself(self) -> None:
        (problem,) = problems(self.SCHEMA, {"a": 3})
        assert problem.option == "s.a"
        assert problem.expected == "null, an object or a list, each an integer from 0 to 65535"

    def test_the_one_that_came_closest_is_followed(self) -> None:
        (problem,) = problems(self.SCHEMA, {"a": {"port": -1}})
        assert (problem.option, problem.expected) == ("s.a.port", "an integer from 0 to 65535")
        (problem,) = problems(self.SCHEMA, {"a": [1, "x"]})
        assert problem.option == "s.a[1]"
        found = problems(self.SCHEMA, {"a": {"naem": "x"}})
        assert {problem.option for problem in found} == {"s.a.naem", "s.a.port"}

    def test_the_fewest_errors_are_closest_and_of_as_many_the_deepest(self) -> None:
        one = sealed({"x": PORT, "y": PORT})
        other = sealed({"x": {"type": "null"}, "y": sealed({"z": {"type": "null"}})})
        schema = sealed({"a": {"anyOf": [one, other]}})
        assert [p.option for p in problems(schema, {"a": {"x": None, "y": 70000}})] == ["s.a.y"]
        assert [p.option for p in problems(schema, {"a": {"x": None, "y": {"z": 1}}})] == ["s.a.y.z"]

    def test_the_same_problem_is_named_once(self) -> None:
        both = {"allOf": [{"type": "string"}, {"type": "string"}]}
        assert len(problems(sealed({"a": both}), {"a": 1})) == 1


def find_patterns(node: Any) -> Iterator[dict[str, Any]]:
    """The schemas in a schema that have a pattern."""
    if isinstance(node, dict):
        if isinstance(node.get("pattern"), str):
            yield node
        for inner in node.values():
            yield from find_patterns(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from find_patterns(inner)


@pytest.mark.parametrize("name", schema_names())
def test_no_pattern_of_a_module_is_shown_to_a_person(name: str) -> None:
    """A new one gets its words in ``schema_words._MEANINGS``."""
    document = load_schema(name, checked=False).document
    bare = [found["pattern"] for found in find_patterns(document) if "matches" in describe(found, document)]
    assert bare == []


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (r"^(?:[0-9]{1,3}(?:[.][0-9]{1,3}){3})$(?!\n)", "an IPv4 address: 192.0.2.10"),
        (r"^(?:[0-9a-fA-F]{64})$(?!\n)", "a SHA-256, of 64 hexadecimal digits"),
        (r"^(?:[a-z]{2})$(?!\n)", "a string that matches [a-z]{2}"),
    ],
)
def test_a_pattern_in_words(pattern: str, words: str) -> None:
    assert describe({"type": "string", "pattern": pattern}, {}) == words


class TestTags:
    """A set of exactly one of several names, as lib.types.attrTag is exported."""

    TAG: ClassVar[dict[str, Any]] = {
        "anyOf": [
            sealed({"file": {"type": "string"}}, required=["file"]),
            sealed({"size": PORT}, required=["size"]),
            sealed({"inner": sealed({"host": {"type": "string"}}, required=["host"])}, required=["inner"]),
        ]
    }

    @pytest.mark.parametrize("wrap", [lambda tag: tag, lambda tag: {"anyOf": [{"type": "null"}, tag]}])
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ({"size": "x"}, ("s.size", 'is "x" (a string)', "an integer from 0 to 65535", None)),
            ({"inner": {}}, ("s.inner.host", "is missing and has no default", "a string", None)),
            ({}, ("s", "has no name", "exactly one of file, size, inner", None)),
            (
                {"size": 1, "file": "x"},
                ("s", "has size, file", "exactly one of file, size, inner", "remove all but one"),
            ),
            (
                {"siz": 1},
                (
                    "s.siz",
                    "there is no such option",
                    None,
                    "did you mean s.size? here stands exactly one of file, size, inner",
                ),
            ),
            (
                {"file": "x", "zzz": 1},
                ("s.zzz", "there is no such option", None, "here stands exactly one of file, size, inner"),
            ),
        ],
    )
    def test_what_is_wrong_is_told_with_the_rule(self, wrap: Any, value: Any, expected: Any) -> None:
        (problem,) = problems(wrap(self.TAG), value)
        assert (problem.option, problem.message, problem.expected, problem.hint) == expected

    def test_what_is_no_set_at_all_is_told_every_alternative(self) -> None:
        (problem,) = problems({"anyOf": [{"type": "null"}, self.TAG]}, 3)
        assert (problem.option, problem.expected) == ("s", "null or an object")

    @pytest.mark.parametrize(
        "other",
        [
            True,
            sealed({"a": {}, "b": {}}, required=["a"]),
            {"type": "object", "properties": {"a": {}}, "required": ["a"]},
            sealed({"a": {}}),
        ],
    )
    def test_alternatives_of_another_kind_are_no_tags(self, other: Any) -> None:
        schema = {"anyOf": [sealed({"file": {"type": "string"}}, required=["file"]), other]}
        assert not any("exactly one" in str(problem.expected) for problem in problems(schema, {}))


@pytest.mark.parametrize(
    ("schema", "value", "expected"),
    [
        ({"const": {"a": 1}}, 2, '{"a": 1}'),
        ({"type": ["string", "null"]}, 2, "a string or null"),
        ({"oneOf": [{"type": "string"}, {"const": 1}]}, 2, "exactly one of: a string or 1"),
        ({"not": {"type": "integer"}}, 2, "anything but an integer"),
        ({"contains": {"type": "string"}}, [2], "a list with a string in it"),
        ({"minLength": 3}, "é", "a string of at least 3 characters"),
        ({"maxItems": 1}, [1, 2], "a list of at most 1 items"),
        ({"multipleOf": 3}, 2, "a multiple of 3"),
        ({"uniqueItems": True}, [1, 1], "a list of different items"),
        ({"minProperties": 1}, {}, "an object of at least 1 names"),
        (
            {"dependentRequired": {"a": ["b"]}},
            {"a": 1},
            'the names that go with those that are there: {"a": ["b"]}',
        ),
        ({"anyOf": [False, {"type": "null"}]}, 2, "nothing or null"),
        ({"anyOf": [False]}, "x", "nothing"),
        ({"if": {"type": "integer"}, "then": {"minimum": 3}}, 2, "a number of at least 3"),
        (
            {"if": {"type": "string"}, "then": True, "else": {"exclusiveMaximum": 2}},
            2,
            "a number less than 2",
        ),
        (
            {"oneOf": [{"type": "string"}, {"minLength": 1}]},
            "x",
            "what only one of these is, and it is several: a string or any value",
        ),
        (
            {"oneOf": [{"type": "integer", "maximum": 3}, {"type": "string"}]},
            True,
            "exactly one of: an integer of at most 3 or a string",
        ),
        ({"contains": {"const": 1}, "minContains": 2}, [1], "a list in which at least 2 items are 1"),
        ({"contains": {"const": 1}, "maxContains": 2}, [1, 1, 1], "a list in which 1 to 2 items are 1"),
        ({"propertyNames": {"maxLength": 1}}, {"ab": 1}, "a string of at most 1 characters"),
        ({"pattern": "^a"}, "b", "a string that matches ^a"),
        ({"patternProperties": {"^a": {"minItems": 2}}}, {"ab": [1]}, "a list of at least 2 items"),
        ({"prefixItems": [{}], "unevaluatedItems": False}, [1, 2], "a list without further items"),
        ({"unevaluatedProperties": False}, {"a": 1}, "an object without further names"),
        ({"type": "number", "maximum": 3}, 4, "a number of at most 3"),
    ],
)
def test_keywords_that_no_schema_of_options_has(schema: Any, value: Any, expected: str) -> None:
    (problem,) = problems(schema, value)
    assert problem.expected == expected


def test_a_name_that_fits_a_pattern_is_known() -> None:
    schema = sealed({"a": {}}, patternProperties={"^x-": {"type": "integer"}})
    assert [each.option for each in problems(schema, {"x-a": 1, "b": 1, "x-b": "c"})] == ["s.b", "s.x-b"]


def test_a_problem_is_held_against_those_of_its_own_option_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of a megabyte, all of it wrong, is a second's work and not an hour's."""
    compared: list[object] = []
    monkeypatch.setattr(Problem, "__eq__", lambda _, other: compared.append(other) or False)
    found = problems({"type": "array", "items": {"type": "string"}}, list(range(500)))
    assert (len(found), compared) == (500, [])
