"""A file becomes a description by its suffix; what is no table, too deep or no UTF-8 has a place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ectools.documents.load import (
    MAX_VALUE_DEPTH,
    HostFormat,
    find_format,
    load_host,
    load_value,
    parse_host,
    parse_value,
)
from ectools.documents.problem import OptionProblem, ProblemKind
from ectools.errors import InputError, ProblemsError
from ectools.files import FileError

TEXTS = {
    HostFormat.JSON: '{"a": {"b": [1, "x"]}}',
    HostFormat.TOML: 'a.b = [1, "x"]',
    HostFormat.YAML: "a:\n  b: [1, x]",
}


SCHEMA_KEYS = {
    HostFormat.JSON: '{"$schema": "./x.json", "a": {"$schema": 1}}',
    HostFormat.TOML: '"$schema" = "./x.json"\na."$schema" = 1',
    HostFormat.YAML: "$schema: ./x.json\na:\n  $schema: 1",
}


def find_problem(data: bytes, form: HostFormat) -> OptionProblem:
    with pytest.raises(ProblemsError) as caught:
        parse_host(data, file="the file", form=form)
    assert caught.value.exit_code == 2
    assert caught.value.message == "the file: cannot be read"
    (problem,) = caught.value.problems
    assert isinstance(problem, OptionProblem)
    assert (problem.kind, problem.file) == (ProblemKind.SYNTAX, "the file")
    return problem


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("h.json", HostFormat.JSON),
        ("h.toml", HostFormat.TOML),
        ("h.yaml", HostFormat.YAML),
        ("h.yml", HostFormat.YAML),
        ("H.YML", HostFormat.YAML),
        ("h.json.toml", HostFormat.TOML),
    ],
)
def test_formats(name: str, form: HostFormat) -> None:
    assert find_format(Path(name)) is form


@pytest.mark.parametrize("name", ["h", "json", ".toml", "h.nix", "h.json~"])
def test_other_suffixes_are_an_error_before_the_file_is_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    for load in (load_host, load_value):
        with pytest.raises(InputError, match="the format is not known") as caught:
            load(path)
        assert str(path) in caught.value.message
        assert caught.value.hint == "name it *.json, *.toml, *.yaml, *.yml"


@pytest.mark.parametrize("form", HostFormat)
def test_a_host_from_a_file_of_each_format(form: HostFormat, tmp_path: Path) -> None:
    path = tmp_path / f"h.{form}"
    path.write_text("\ufeff" + TEXTS[form])
    description = load_host(path)
    assert description.file == str(path)
    assert description.root.value == {"a": {"b": [1, "x"]}}
    assert load_value(path) == description.root.value


@pytest.mark.parametrize("load", [load_host, load_value])
def test_a_file_that_is_not_there(load: Any, tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"none\.json"):
        load(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("text", "form", "position"),
    [
        ("[1]", HostFormat.JSON, (1, 1)),
        ("\n  3", HostFormat.JSON, (2, 3)),
        ("- a\n- b\n", HostFormat.YAML, (1, 1)),
        ("", HostFormat.YAML, (1, 1)),
    ],
)
def test_a_host_is_a_table_and_a_value_may_be_anything(
    text: str, form: HostFormat, position: tuple[int, int]
) -> None:
    problem = find_problem(text.encode(), form)
    assert problem.message == "a host description is a table of options"
    assert problem.option == "(the whole file)"
    assert (problem.line, problem.column) == position
    assert not isinstance(parse_value(text.encode(), file="f", form=form).value, dict)


@pytest.mark.parametrize(
    ("data", "byte", "position"),
    [
        (b"\xff", "0xff", (1, 1)),
        (b"a = 1\nb = '\xc3\xa9\xc3'", "0xc3", (2, 7)),
        (b"\n\n\x80", "0x80", (3, 1)),
    ],
)
def test_a_byte_that_is_no_utf_8_stands_by_characters(
    data: bytes, byte: str, position: tuple[int, int]
) -> None:
    problem = find_problem(data, HostFormat.TOML)
    assert problem.message == f"byte {byte} is not UTF-8"
    assert (problem.line, problem.column) == position


def nest(depth: int, kind: str) -> str:
    """JSON whose innermost, empty ``kind`` lies ``depth`` levels deep."""
    if kind == "list":
        return '{"a":' + "[" * depth + "]" * depth + "}"
    return '{"a":' * depth + "{}" + "}" * depth


@pytest.mark.parametrize(
    ("kind", "innermost", "path"),
    [
        ("list", "[]", "a" + "[0]" * (MAX_VALUE_DEPTH - 1)),
        ("table", "{}", ".".join("a" * MAX_VALUE_DEPTH)),
    ],
)
def test_options_lie_so_deep_and_no_deeper(kind: str, innermost: str, path: str) -> None:
    parse_host(nest(MAX_VALUE_DEPTH - 1, kind).encode(), file="f", form=HostFormat.JSON)
    text = nest(MAX_VALUE_DEPTH, kind)
    problem = find_problem(text.encode(), HostFormat.JSON)
    assert problem.message == f"nested deeper than {MAX_VALUE_DEPTH} levels"
    assert problem.option == path
    assert (problem.line, problem.column) == (1, text.index(innermost) + 1)


@pytest.mark.parametrize("form", HostFormat)
def test_what_names_a_schema_for_editors_is_no_option(form: HostFormat) -> None:
    assert parse_host(SCHEMA_KEYS[form].encode(), file="h", form=form).root.value == {"a": {"$schema": 1}}
    assert "$schema" in parse_value(SCHEMA_KEYS[form].encode(), file="h", form=form).value
    number = parse_host(b'{"$schema": 1}', file="h", form=HostFormat.JSON)
    assert number.root.value == {"$schema": 1}
