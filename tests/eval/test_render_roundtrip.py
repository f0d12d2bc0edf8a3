"""What is rendered is what Nix reads: ``eval(render(v)) == v``, on the real nix, thousands of values a
process.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import strategies as st
from support import nix_values
from support.samples import collect

from ectools.nixlang import render, render_file
from ectools.nixlang.nodes import (
    AttrSet,
    Binding,
    Call,
    Function,
    If,
    Inherit,
    Interpolated,
    Lambda,
    Let,
    Parameter,
    Select,
    Var,
    With,
)
from pynix_eval_shim import evaluate, parse

if TYPE_CHECKING:
    from pynix_eval_shim import Nix

pytestmark = pytest.mark.nix

BATCH = 2000

# nixpkgs' lib.generators.toPretty renders each of these wrongly with multiline = true: it interpolates,
# dedents, drops the end, does not parse, and turns a carriage return into a newline.
TO_PRETTY_FAILURES = {
    "interpolates": "a\n'${x}",
    "is dedented": "  a\n  b",
    "loses its end": "a\n  ",
    "does not parse": "a\n'",
    "changes its line ends": "a\rb",
}

# Sets that mean more to builtins.toJSON than data: it would answer with one of their attributes.
NOT_DATA_TO_JSON = [{"outPath": "x"}, {"__toString": "x"}, {"type": "derivation", "outPath": "y", "a": 1}]


def same(one: Any, other: Any) -> bool:
    """Equality that tells 1 from 1.0 and from true, and 0.0 from -0.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    return bool(one == other)


def check_round_trip(values: list[Any], nix: Nix) -> None:
    """One process for many values; where one came back wrong, the smallest such is shown with its text."""
    read = evaluate(render_file([{"value": value} for value in values]), nix=nix)
    assert len(read) == len(values)
    wrong = [
        (value, back["value"])
        for value, back in zip(values, read, strict=True)
        if not same(value, back["value"])
    ]
    if wrong:
        value, back = min(wrong, key=lambda pair: len(repr(pair[0])))
        pytest.fail(
            f"{len(wrong)} of {len(values)} came back wrong.\n{value!r} became\n{back!r} by\n{render(value)}"
        )


def is_plain(value: Any) -> bool:
    """Whether builtins.toJSON takes every set in the value for data."""
    if isinstance(value, dict):
        return not value.keys() & {"outPath", "__toString"} and all(map(is_plain, value.values()))
    return not isinstance(value, list) or all(map(is_plain, value))


# Ten at a time, because most of hypothesis's time goes into starting an example.
TEN = st.lists(nix_values.data.filter(is_plain), min_size=10, max_size=10)


def test_a_sample_of_all_data(any_nix: Nix) -> None:
    check_round_trip([value for ten in collect(TEN, 300) for value in ten], any_nix)


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_a_hundred_thousand_values(any_nix: Nix) -> None:
    values = [value for ten in collect(TEN, 10_000) for value in ten]
    assert len(values) == 100_000
    for start in range(0, len(values), BATCH):
        check_round_trip(values[start : start + BATCH], any_nix)


@pytest.mark.parametrize("text", TO_PRETTY_FAILURES.values(), ids=TO_PRETTY_FAILURES)
def test_strings_that_to_pretty_renders_wrongly(text: str, any_nix: Nix) -> None:
    check_round_trip([text, [text], {"a": text}, {text: text}], any_nix)


def test_sets_that_are_no_data_to_json(any_nix: Nix) -> None:
    for value in NOT_DATA_TO_JSON:
        pairs = evaluate(
            f"map (name: {{ inherit name; value = ({render(value)}).${{name}}; }}) {render(list(value))}",
            nix=any_nix,
        )
        assert {pair["name"]: pair["value"] for pair in pairs} == value


def test_every_character(any_nix: Nix) -> None:
    points = [point for point in range(1, 0x3000) if not 0xD800 <= point < 0xE000]
    check_round_trip([chr(point) for point in points] + [f"a\n{chr(point)}b" for point in points], any_nix)


def test_the_deepest_data(any_nix: Nix) -> None:
    value: Any = "x"
    for level in range(197):
        value = {"a": value, "b": 1} if level % 2 else [value, 1]
    check_round_trip([value], any_nix)


X: Any = Var("x")
EXPRESSIONS: list[tuple[Any, Any]] = [
    (Call(Lambda("x", [X, X]), -1), [-1, -1]),
    (Call(Lambda("x", Lambda("y", Var("y"))), 1, -0.0), -0.0),
    (
        Call(
            Function(
                parameters=(Parameter("a"), Parameter("b", "${x}", has_default=True)),
                open=True,
                bind="all",
                body=[Var("a"), Var("b"), Select(Var("all"), ("c d",))],
            ),
            {"a": 1, "c d": 2},
        ),
        [1, "${x}", 2],
    ),
    (Let((Binding(("x", "if"), 1), Inherit(("length",), Var("builtins"))), Call(Var("length"), [X])), 1),
    (AttrSet((Binding(("a",), 1), Binding(("b",), Var("a"), "why\n*/")), recursive=True), {"a": 1, "b": 1}),
    (AttrSet((Inherit(("a", "or"), {"a": 1, "or": 2, "c": 3}),)), {"a": 1, "or": 2}),
    (AttrSet((Binding(("a", "b c"), 1), Binding(("a", "d"), 2))), {"a": {"b c": 1, "d": 2}}),
    (With({"x": [1]}, X), [1]),
    (If(condition=False, yes=1, no=If(condition=True, yes=2, no=3)), 2),
    (
        Interpolated(("${", "a", "\n\\", Interpolated(('"', "''")), Select({"a": "$"}, ("a",)), "{")),
        "${a\n\\\"''${",
    ),
    (Select({"a": 1}, ("b",), -5, has_default=True), -5),
    (Select({"a": {}}, ("a", "or", "${b}"), [None], has_default=True), [None]),
    (Call(Select(Var("builtins"), ("add",)), -(2**63), 2**63 - 1), -1),
]


@pytest.mark.parametrize(("expr", "value"), EXPRESSIONS, ids=[str(n) for n in range(len(EXPRESSIONS))])
def test_expressions(expr: Any, value: Any, any_nix: Nix) -> None:
    assert same(evaluate(render(expr), nix=any_nix), value)


def test_any_tree_of_nodes_parses(any_nix: Nix) -> None:
    """The variables are bound by a ``with``, so that only the syntax can be wrong."""
    trees = collect(nix_values.expressions, 600)
    parse(render(Lambda("free", With(Var("free"), trees))), nix=any_nix)
