"""TOML as everything here reads it: the same values and errors, whatever reads it."""

from __future__ import annotations

import sys
import tomllib
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.needs import give_up

from ectools.documents import toml_source
from ectools.documents.source_map import SyntaxProblem
from ectools.documents.toml_source import parse_toml

PLAIN = '[nodes.nuc]\ngroup = "runners"\nmatch.mac = [\n  "02:00:00:00:00:07",\n]\n'
ONLY_IN_1_1 = ["a = { b = 1,\n c = 2 }", "a = { b = 1, }", r'a = "\e"', r'a = "\x41"', "a = 07:32"]
LINES = st.sampled_from(
    [
        *("[a]", "[a.b]", '["a".c]', "[[l]]", "[[l.m]]", "# said", "", "a.b = 1", "b = 'x'", 'b = "x\ty"'),
        *('c = """\nx"""', "c = '''y'''", "d = [1, [2.5e3, true],]", "d = [", "]", "e = 0x1F", "e = 1_000"),
        *("f = inf", "f = 1979-05-27T07:32:00Z", "f = 1979-05-27 07:32Z", "g = 012", "g =", "= 1", '"" = 1'),
        *("h = { i = 1 }", "h = {", "}", r'i = "\u0041"', 'i = "\x07"', "a.b.c = 2"),
        *ONLY_IN_1_1,
    ]
)


def read(text: str) -> object:
    try:
        return repr(toml_source._read_values(text))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        return (type(error), str(error))


def read_by_the_standard_library(text: str) -> object:
    try:
        return repr(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        return (type(error), str(error))


@given(lines=st.lists(LINES, max_size=8), end=st.sampled_from(["\n", "\r\n"]))
def test_what_is_installed_does_not_decide_what_is_read(lines: list[str], end: str) -> None:
    text = end.join(lines)
    expected = read_by_the_standard_library(text)
    if "07:32Z" in text or "a = 07:32" in text:
        # A time without seconds: the compiled one may take it, and as a time it is refused then.
        assert isinstance(expected, tuple)
        with pytest.raises(SyntaxProblem):
            parse_toml(text)
    else:
        assert read(text) == expected


@pytest.mark.parametrize("text", ONLY_IN_1_1)
def test_toml_1_1_is_refused(text: str) -> None:
    with pytest.raises(SyntaxProblem):
        parse_toml(text)


def test_the_compiled_parser_reads_what_both_read_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    parse_toml(PLAIN)
    tomli = sys.modules.get("tomli")  # imported by now, where it is there
    if tomli is None or isinstance(tomli.loads, types.FunctionType):
        give_up("a compiled tomli, as its wheels are")
    expected = tomllib.loads(PLAIN)
    monkeypatch.setattr(tomllib, "loads", None)
    assert parse_toml(PLAIN).value == expected
    with pytest.raises(TypeError):  # neither of these is left to it
        parse_toml("a = {}")
    with pytest.raises(TypeError):
        parse_toml("a =")


def test_without_it_the_standard_library_reads_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tomli", None)
    assert parse_toml(PLAIN).value == tomllib.loads(PLAIN)
    with pytest.raises(SyntaxProblem, match="invalid value"):
        parse_toml("a =")


def test_one_in_python_is_no_faster_and_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def loads(text: str) -> dict[str, object]:
        raise AssertionError(text)

    monkeypatch.setitem(sys.modules, "tomli", types.SimpleNamespace(loads=loads))
    assert parse_toml(PLAIN).value == tomllib.loads(PLAIN)


def test_what_is_nested_too_deeply_is_said_to_be() -> None:
    with pytest.raises(SyntaxProblem, match="nested deeper"):
        parse_toml("a = " + "[" * 5000)
