"""The three parsers read what the format's own parser reads, and each position is where the text stands."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from support import nix_values

from ectools.documents.json_source import parse_json_source
from ectools.documents.load import HostFormat, parse_value
from ectools.documents.source_map import Position, SourceMapped, SyntaxProblem
from ectools.documents.toml_source import parse_toml
from ectools.documents.yaml_source import parse_yaml
from ectools.errors import ProblemsError

# What JSON, YAML and TOML all write in the same way.
plain_text = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0x7E) | st.sampled_from("é\n\t🦀"), max_size=12
)
plain_scalars = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(-1e6, 1e6).map(lambda x: round(x, 3) + 0.0),
    plain_text,
)
plain = st.recursive(
    plain_scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(plain_text, inner, max_size=4),
    max_leaves=12,
)
tables = st.dictionaries(plain_text, plain, max_size=4)


def is_decimal(value: Any) -> bool:
    """Whether every number's text is the same in all three formats: no exponent."""
    return "e" not in "".join(repr(each) for each in walk(value) if isinstance(each, float))


def walk(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [value, *(each for inner in value.values() for each in walk(inner))]
    if isinstance(value, list):
        return [value, *(each for inner in value for each in walk(inner))]
    return [value]


def find(value: Any, place: tuple[Any, ...]) -> Any:
    for step in place:
        value = value[step]
    return value


def text_at(text: str, position: Position) -> str:
    return text.split("\n")[position.line - 1][position.column - 1 :]


def check_positions(text: str, mapped: SourceMapped) -> None:
    for place, position in mapped.source_map.values.items():
        value = find(mapped.value, place)
        expected = {dict: "{", list: "["}.get(type(value)) or json.dumps(value, ensure_ascii=False)
        assert text_at(text, position).startswith(expected), place
    for place, position in mapped.source_map.keys.items():
        assert text_at(text, position).startswith(json.dumps(place[-1], ensure_ascii=False)), place


@given(nix_values.data, st.sampled_from((None, 0, 2)))
def test_json(value: Any, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    mapped = parse_json_source(text)
    assert mapped.value == json.loads(text)
    check_positions(text, mapped)


@given(plain.filter(is_decimal), st.sampled_from((None, 1)))
def test_yaml_reads_json_as_json(value: Any, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    mapped = parse_yaml(text)
    assert (mapped.value, mapped.source_map) == (
        parse_json_source(text).value,
        parse_json_source(text).source_map,
    )
    check_positions(text, mapped)


@given(tables.filter(is_decimal))
def test_yaml_in_blocks(value: dict[str, Any]) -> None:
    text = yaml.safe_dump(value, default_style='"', allow_unicode=True, sort_keys=False)
    # With this style PyYAML writes numbers and booleans as tagged strings.
    for tag in ("!!int", "!!float", "!!bool", "!!null"):
        text = text.replace(f"{tag} ", "")
    mapped = parse_yaml(text)
    assert mapped.value == yaml.load(text, yaml.BaseLoader)
    for place, position in mapped.source_map.keys.items():
        assert text_at(text, position).startswith(('"', "? "))
        assert place in mapped.source_map.values


def write_toml(value: dict[str, Any]) -> str:
    """Tables where that is possible, inline values elsewhere."""
    lines: list[str] = []
    write_table(value, (), lines)
    return "\n".join(lines)


def write_table(value: dict[str, Any], path: tuple[str, ...], lines: list[str]) -> None:
    below = {name: each for name, each in value.items() if isinstance(each, dict)}
    arrays = {
        name: each
        for name, each in value.items()
        if isinstance(each, list) and each and all(isinstance(item, dict) for item in each)
    }
    for name, each in value.items():
        if name not in below and name not in arrays:
            lines.append(f"  {write_inline(name)} = {write_inline(each)} # {name!r}")
    for name, each in below.items():
        lines.append(f"[{'.'.join(map(write_inline, (*path, name)))}]")
        write_table(each, (*path, name), lines)
    for name, items in arrays.items():
        for item in items:
            lines.append(f"[[ {' . '.join(map(write_inline, (*path, name)))} ]]")
            write_table(item, (*path, name), lines)


def write_inline(value: Any) -> str:
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(f"{write_inline(name)} = {write_inline(each)}" for name, each in value.items())
            + "}"
        )
    if isinstance(value, list):
        return "[\n" + "".join(f"  {write_inline(each)}, # ]\n" for each in value) + "]"
    return json.dumps(value, ensure_ascii=False)


@given(tables.filter(is_decimal))
@example({"a": [{"b": {"c": [1]}}, {"b": {"c": []}}]})
@example({"a": {"b": {}}, "": {"": ""}})
def test_toml(value: dict[str, Any]) -> None:
    text = write_toml(value)
    mapped = parse_toml(text)
    assert mapped.value == tomllib.loads(text) == value
    for place, position in mapped.source_map.values.items():
        found = find(value, place)
        expected = (
            ("[", "{", '"') if isinstance(found, (dict, list)) else json.dumps(found, ensure_ascii=False)
        )
        assert not place or text_at(text, position).startswith(expected), place
    for place, position in mapped.source_map.keys.items():
        assert text_at(text, position).startswith(json.dumps(place[-1], ensure_ascii=False)), place
    assert len(mapped.source_map.values) == len(walk(value)), "every value has a position"


def test_toml_with_dotted_keys() -> None:
    mapped = parse_toml("a.b = 1\n[c]\n  d . 'e' = [ 2,\n 3 ]\n[c.f]\n")
    assert mapped.source_map.keys == {
        ("a",): Position(1, 1),
        ("a", "b"): Position(1, 3),
        ("c",): Position(2, 2),
        ("c", "d"): Position(3, 3),
        ("c", "d", "e"): Position(3, 7),
        ("c", "f"): Position(5, 4),
    }
    assert mapped.source_map.values[("c", "d", "e", 0)] == Position(3, 15)
    assert mapped.source_map.values[("c", "d", "e", 1)] == Position(4, 2)


@pytest.mark.parametrize("parse", [parse_json_source, parse_yaml, parse_toml], ids=["JSON", "YAML", "TOML"])
@given(
    st.one_of(
        st.text(max_size=40),
        st.lists(
            st.sampled_from([*"{}[]\"'=,.:#-?&*!|>\\\n\t 1ae", "a = ", '"""', "'''", "[[", "]]", "- "]),
            max_size=20,
        ).map("".join),
    )
)
def test_any_text_is_read_or_refused_with_a_place(parse: Callable[[str], SourceMapped], text: str) -> None:
    problem: SyntaxProblem | None = None
    try:
        assert () in parse(text).source_map.values
    except SyntaxProblem as caught:
        problem = caught
    if problem is not None and problem.position is not None:
        breaks = sum(text.count(each) for each in "\n\r\x85\u2028\u2029")
        assert 1 <= problem.position.line <= breaks + 2


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: true\nb: False\nc: ~\nd:\ne: null", {"a": True, "b": False, "c": None, "d": None, "e": None}),
        (
            "a: 0o17\nb: 0x1F\nc: -3\nd: +4\ne: 1.0e+3\nf: 0",
            {"a": 15, "b": 31, "c": -3, "d": 4, "e": 1000.0, "f": 0},
        ),
        (
            "a: 'no'\nb: \"1e3\"\nc: |\n  no\nd: >-\n  2026-01-31",
            {"a": "no", "b": "1e3", "c": "no\n", "d": "2026-01-31"},
        ),
        (
            "a: 10.0.2.2\nb: 16G\nc: 1.2.3\nd: /nix\ne: a b",
            {"a": "10.0.2.2", "b": "16G", "c": "1.2.3", "d": "/nix", "e": "a b"},
        ),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        # What is a number in base 60 to YAML 1.1 is a hardware address to everybody else.
        ("a: 52:54:00:12:34:56\nb: de:ad:be:ef:00:01", {"a": "52:54:00:12:34:56", "b": "de:ad:be:ef:00:01"}),
        ("a: !!str 1", {"a": "1"}),
        ("--- {a: 1}\n...\n", {"a": 1}),
    ],
)
def test_yaml_is_read_as_yaml_1_2(text: str, value: Any) -> None:
    mapped = parse_yaml(text)
    assert mapped.value == value
    assert [type(each) for each in walk(mapped.value)] == [type(each) for each in walk(value)]


def test_aliases_cannot_fill_the_memory() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(SyntaxProblem, match="more than 1000000 values"):
        parse_yaml("\n".join(lines))


def faults(parse: Callable[[str], SourceMapped], text: str) -> list[tuple[int, int]]:
    with pytest.raises(SyntaxProblem) as caught:
        parse(text)
    positions = [problem.position for problem in (caught.value, *caught.value.others)]
    return [(position.line, position.column) for position in positions if position is not None]


def test_every_word_of_yaml_that_readers_disagree_on_is_told_at_once() -> None:
    text = "a: no\nb: [1e3, 12:30:00, ok]\non: 3\n<<: {x: 1}\n? [k]\n: 1\nc: !x 4\nc: 1_0\n3: x\n"
    assert faults(parse_yaml, text) == [
        (1, 4),
        (2, 5),
        (2, 10),
        (3, 1),
        (4, 1),
        (5, 3),
        (7, 4),
        (8, 1),
        (9, 1),
    ]


def test_every_value_of_toml_that_json_has_no_words_for_is_told_at_once() -> None:
    text = "a = 1979-05-27\nb = nan\nc = [inf, 1, 07:32:00]\n"
    assert faults(parse_toml, text) == [(1, 5), (2, 5), (3, 6), (3, 14)]


def test_a_file_of_nothing_but_faults_ends() -> None:
    assert len(faults(parse_yaml, "\n".join(["- no"] * 200))) == 100


def test_each_fault_is_a_problem_of_the_file() -> None:
    with pytest.raises(ProblemsError) as caught:
        parse_value(b"a: no\nb: off", file="h.yaml", form=HostFormat.YAML)
    assert [(each.option, each.line, each.file) for each in caught.value.problems] == [
        ("a", 1, "h.yaml"),
        ("b", 2, "h.yaml"),
    ]


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (HostFormat.TOML, "a = " + "1" * 5000),
        (HostFormat.TOML, "a = -1" + "_1" * 5000),
        (HostFormat.TOML, "a = 0x" + "f" * 5000),
        (HostFormat.TOML, "a = 0o" + "7" * 5000),
        (HostFormat.TOML, "a = [0b" + "1" * 20000 + "]"),
        (HostFormat.YAML, "a: 0x" + "f" * 5000),
        (HostFormat.YAML, "a: 0o" + "7" * 5000),
        (HostFormat.YAML, "a: " + "1" * 5000),
        (HostFormat.JSON, '{"a": ' + "1" * 5000 + "}"),
    ],
)
def test_an_integer_that_no_configuration_has_is_refused_with_its_place(form: HostFormat, text: str) -> None:
    with pytest.raises(ProblemsError) as caught:
        parse_value(text.encode(), file="x", form=form)
    (problem,) = caught.value.problems
    assert "is too large for a double" in problem.message
    assert problem.line == 1
    assert problem.column is not None
    assert len(problem.render()) < 200
