"""Where problems stand: the value, the name, or the table that lacks it; and values that Nix cannot say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.host_contract import CONTRACT

from ectools.documents.load import HostFormat, parse_host
from ectools.documents.problem import OptionProblem, ProblemKind
from ectools.host.validate import validate_host
from ectools.schemas import Schema


def find_problems(text: str) -> list[OptionProblem]:
    return validate_host(parse_host(text.encode(), file="h.toml", form=HostFormat.TOML), CONTRACT)


def summary(problem: OptionProblem) -> tuple[str, ProblemKind, int | None, int | None]:
    return problem.option, problem.kind, problem.line, problem.column


def test_a_valid_host_has_none() -> None:
    assert find_problems("") == []
    assert find_problems('[services.test]\nenable = true\ndisks.a.path = "x"') == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "services.test.port = 70000",
            ("services.test.port", ProblemKind.VALUE, 1, 22),
        ),
        (
            "services.test.args = ['a',\n  1]",
            ("services.test.args[1]", ProblemKind.VALUE, 2, 3),
        ),
        (
            "[services]\ntest.prt = 1",
            ("services.test.prt", ProblemKind.UNKNOWN, 2, 6),
        ),
        (
            "[services.test]\n[services.tset]",
            ("services.tset", ProblemKind.UNKNOWN, 2, 11),
        ),
        (
            "[services.test.disks.a]\nsizeGiB = 1",
            ("services.test.disks.a.path", ProblemKind.MISSING, 1, 22),
        ),
        (
            '[services.test.disks."a.b"]',
            ('services.test.disks."a.b".path', ProblemKind.MISSING, 1, 22),
        ),
    ],
)
def test_the_place_of_each_kind(text: str, found: tuple[str, ProblemKind, int, int]) -> None:
    (problem,) = find_problems(text)
    assert summary(problem) == found
    assert problem.file == "h.toml"


def test_all_are_told_in_the_order_of_the_file() -> None:
    text = "[services.test]\nport = 'x'\nenable = 1\nprt = 1\nargs = [1, 2]\ndisks.a.sizeGiB = 0\n"
    problems = find_problems(text)
    assert [(problem.line, problem.option.removeprefix("services.test.")) for problem in problems] == [
        (2, "port"),
        (3, "enable"),
        (4, "prt"),
        (5, "args[0]"),
        (5, "args[1]"),
        (6, "disks.a.path"),
        (6, "disks.a.sizeGiB"),
    ]


def test_an_option_in_a_submodule_is_described_by_its_own_words() -> None:
    (problem,) = find_problems("[services.test.disks.a]\npath = 'x'\nsizeGiB = 0")
    assert (problem.declared_in, problem.description) == (
        "nix/modules/test.nix:21",
        "The `positive integer` of it.",
    )
    (missing,) = find_problems("[services.test.disks.a]")
    assert missing.declared_in == "nix/modules/test.nix:20"
    (unknown,) = find_problems("[services]\nnone = 1")
    assert (unknown.declared_in, unknown.description) == (None, None)


@pytest.mark.parametrize(
    ("value", "option", "says", "at"),
    [
        ({"name": "a\0b"}, "services.test.name", "NUL", '"a\\u0000b"'),
        ({"args": ["", "\0"]}, "services.test.args[1]", "NUL", '"\\u0000"]'),
        ({"name": "\ud800"}, "services.test.name", "U+D800", '"\\ud800"'),
        (
            {"env": {"A": 2**63}},
            "services.test.env.A",
            "9223372036854775808 is out of",
            "9223372036854775808",
        ),
        ({"env": {"a\0": "x"}}, 'services.test.env."a\\u0000"', "NUL", '"a\\u0000": "x"'),
    ],
)
def test_what_no_schema_forbids_and_nix_has_no_words_for(value: Any, option: str, says: str, at: str) -> None:
    text = json.dumps({"services": {"test": value}})
    description = parse_host(text.encode(), file="h.json", form=HostFormat.JSON)
    (problem,) = validate_host(description, CONTRACT)
    assert summary(problem) == (option, ProblemKind.VALUE, 1, text.index(at) + 1)
    assert says in problem.message


def test_such_a_value_is_told_once_where_the_schema_forbids_it_too() -> None:
    text = '{"services": {"test": {"port": 9223372036854775808}}}'
    (problem,) = validate_host(parse_host(text.encode(), file="h.json", form=HostFormat.JSON), CONTRACT)
    assert "Nix's range" not in problem.message
    assert problem.expected == "an integer from 0 to 65535"


def test_a_schema_of_ones_own() -> None:
    schema = Schema({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}, "x", "")
    description = parse_host(b"", file="h.toml", form=HostFormat.TOML)
    (problem,) = validate_host(description, schema)
    assert summary(problem) == ("a", ProblemKind.MISSING, 1, 1)


DISK = {"type": "object", "properties": {"size": {"type": "integer"}, "a.b": {}}, "required": ["size", "a.b"]}
MAYBE = {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/d"}]}


@pytest.mark.parametrize(
    ("option", "text", "found"),
    [
        (MAYBE, "x: 1\no:\n  a.b: 1\n", ("o.size", 2, 1)),
        ({"anyOf": [{"type": "string"}, MAYBE]}, "x: 1\no: {a.b: 1}\n", ("o.size", 2, 1)),
        ({"type": "array", "items": MAYBE}, "o:\n- null\n- {a.b: 1}\n", ("o[1].size", 3, 3)),
        (
            {"type": "object", "additionalProperties": MAYBE},
            "o:\n  p.q: {a.b: 2}\n",
            ('o."p.q".size', 2, 3),
        ),
        (MAYBE, "o: {size: 1}\n", ('o."a.b"', 1, 1)),
        (
            {
                "anyOf": [
                    {
                        "type": "object",
                        "properties": {"t": MAYBE},
                        "required": ["t"],
                        "additionalProperties": False,
                    }
                ]
            },
            "o:\n  t:\n    a.b: 1\n",
            ("o.t.size", 2, 3),
        ),
    ],
)
def test_what_is_missing_stands_at_the_object_that_lacks_it(option: Any, text: str, found: Any) -> None:
    document = {"type": "object", "properties": {"o": option, "x": {}}, "$defs": {"d": DISK}}
    description = parse_host(text.encode(), file="h.yaml", form=HostFormat.YAML)
    (problem,) = validate_host(description, Schema(document, "x", ""))
    assert problem.kind is ProblemKind.MISSING
    assert (problem.option, problem.line, problem.column) == found
