"""The subject of a call, and the text and arguments that carry it and the caller's code apart."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from pynix_eval_shim.errors import DataError, NixSyntaxError
from pynix_eval_shim.evaluation import (
    NO_DATA,
    Target,
    compose,
    not_an_option,
    override,
    search_path,
)
from pynix_eval_shim.source import ARGUMENT_BYTES, STRING_LABEL


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"expression": "1", "installable": ".#a"},
        {"expression": "", "file": Path("/a")},
        {"expression": "1", "file": Path("/a"), "installable": ".#a"},
    ],
)
def test_a_call_has_exactly_one_subject(fields: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="exactly one of an expression, file= and installable="):
        Target(**fields)


def test_an_empty_text_is_a_subject() -> None:
    assert Target(expression="").expression == ""


@pytest.mark.parametrize("reference", ["-f", "--help", "-"])
def test_a_reference_is_no_option(reference: str) -> None:
    for call in (not_an_option, lambda text: Target(installable=text)):
        with pytest.raises(
            DataError, match=f"^{reference}: a reference does not begin with a dash"
        ) as caught:
            call(reference)
        assert caught.value.hint == f"write ./{reference}"


def test_other_references_are_taken_as_they_are() -> None:
    assert [not_an_option(text) for text in ("", ".#-a", "./-a", "a-b")] == ["", ".#-a", "./-a", "a-b"]


@pytest.mark.parametrize(
    ("target", "apply", "data", "text", "arguments"),
    [
        (
            Target(expression="e"),
            None,
            NO_DATA,
            "{ expression }: w expression\n",
            ["--arg", "expression", "e"],
        ),
        (
            Target(expression="e"),
            "a",
            None,
            '{ expression, apply }: w (apply (expression (builtins.fromJSON "null")))\n',
            ["--arg", "expression", "e", "--arg", "apply", "a"],
        ),
        (
            Target(file=Path("/${x}")),
            None,
            "$",
            '{ file }: w ((import file) (builtins.fromJSON "\\"\\\\u0024\\""))\n',
            ["--argstr", "file", "/${x}"],
        ),
        (
            Target(file=Path("/f")),
            "a",
            NO_DATA,
            "{ apply, file }: w (apply (import file))\n",
            ["--arg", "apply", "a", "--argstr", "file", "/f"],
        ),
    ],
)
def test_code_goes_in_by_argument(
    target: Target, apply: str | None, data: Any, text: str, arguments: list[str]
) -> None:
    composed, given, sources = compose(target, apply, data, wrap="w")
    assert (composed, given) == (text, arguments)
    # A position in text of the shim's own is nobody's.
    assert sources.place("«stdin»", 1, 1) is None
    for code in filter(None, (target.expression, apply)):
        assert sources.place(code, 1, 1) == (STRING_LABEL, 1, 1)


@pytest.mark.parametrize("excess", [0, 1])
def test_code_too_long_for_an_argument_stands_in_brackets(excess: int) -> None:
    code = "1\n+ " + "2" * (ARGUMENT_BYTES - 4 + excess)
    composed, arguments, sources = compose(Target(expression=code), "x:\nx", 3)
    if not excess:
        assert arguments == ["--arg", "expression", code, "--arg", "apply", "x:\nx"]
        return
    assert arguments == []
    assert composed == (
        f"let expression = (\n{code}\n); in\nlet apply = (\nx:\nx\n); in\n"
        ' (apply (expression (builtins.fromJSON "3")))\n'
    )
    lines = composed.split("\n")
    for line, (text, own) in {2: ("1", 1), 3: ("+ 22", 2), 6: ("x:", 1), 7: ("x", 2)}.items():
        assert lines[line - 1].startswith(text)
        assert sources.place("«stdin»", line, 1) == (STRING_LABEL, own, 1)
    for line in (1, 5, 9):
        assert sources.place("«stdin»", line, 5) is None


@pytest.mark.parametrize(("code", "says"), [("a\0", "NUL"), ("\ud800", "not Unicode")])
def test_code_that_cannot_be_written_down(code: str, says: str) -> None:
    for target, apply in ((Target(expression=code), None), (Target(file=Path("/f")), code)):
        with pytest.raises(NixSyntaxError, match=says):
            compose(target, apply, NO_DATA)


def test_data_that_is_none() -> None:
    with pytest.raises(DataError, match=re.escape("data.a[1]: a set is not JSON")):
        compose(Target(expression="x"), None, {"a": [1, {2}]})


def test_search_paths_and_inputs_are_pairs_of_arguments() -> None:
    assert search_path(None) == search_path({}) == override(None) == override({}) == []
    assert search_path({"a": "/b", "c": "d=e"}) == ["-I", "a=/b", "-I", "c=d=e"]
    assert override({"a/b": "path:/c", "d": "e"}) == [
        *("--override-input", "a/b", "path:/c"),
        *("--override-input", "d", "e"),
    ]
