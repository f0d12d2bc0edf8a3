"""Types of host descriptions for programs: what generators are asked for, and what the types take."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydantic
import pytest
import typing_extensions
from click.testing import CliRunner
from support.option_values import Option, list_options

from ectools.cli.main import ectools
from ectools.documents.load import load_value
from ectools.host.combined_schema import load_combined_schema
from ectools.host.program_types import TypesLanguage, generate_types
from ectools.processes import ProcessError, ProgramMissingError
from ectools.schemas import Schema, load_schema, schema_names, validate_document

EXAMPLES = Path(__file__).parents[3] / "examples"
OTHERS: list[Any] = [None, True, 1, 1.5, "text", [], ["text"], {}, {"name": {}}]
OPTIONS = [option for name in schema_names() for option in list_options(load_schema(name))]

Accept = Callable[[Any], bool]

FREE = {
    "title": "Free",
    "type": "object",
    "properties": {
        "open": {
            "type": "object",
            "description": "what an open mapping holds",
            "properties": {"a": {"type": "integer"}},
            "required": ["a"],
            "additionalProperties": {"type": "string"},
        },
        "closed": {
            "type": "object",
            "properties": {"additionalProperties": {"default": {"properties": {}}}},
            "additionalProperties": False,
            "required": ["additionalProperties"],
        },
    },
    "definitions": {"a.b": {"anyOf": [{"type": "null"}, {"items": {"$ref": "#/definitions/a.b"}}]}},
}


def load_types(text: str, name: str) -> Accept:
    """Whether the type of that name takes a value, by pydantic without conversions."""
    tree = ast.parse(text)
    for node in tree.body:
        # On Python 3.11 pydantic wants both as typing_extensions has them.
        match node:
            case ast.ImportFrom(module="typing"):
                node.module = "typing_extensions"
                node.names.append(ast.alias("TypeAliasType"))
            case ast.AnnAssign(target=ast.Name() as target, annotation=ast.Name("TypeAlias")):
                node.annotation = ast.Constant("TypeAliasType")
                node.value = ast.parse(
                    f"TypeAliasType({target.id!r}, {ast.unparse(node.value)})", mode="eval"
                ).body
    names: dict[str, Any] = {"__name__": "host_types"}
    exec(compile(ast.fix_missing_locations(tree), "host_types", "exec"), names)
    for each in [*names.values()]:
        if typing_extensions.is_typeddict(each):
            each.__module__ = "host_types"
            each.__pydantic_config__ = pydantic.ConfigDict(extra="forbid", strict=True)
    adapter = pydantic.TypeAdapter(names[name], _parent_depth=0)
    adapter.rebuild(_types_namespace=names)

    def accepts(value: Any) -> bool:
        try:
            adapter.validate_python(value)
        except pydantic.ValidationError:
            return False
        return True

    return accepts


@pytest.fixture(scope="module")
def accepts() -> Accept:
    schemas = [load_schema(name) for name in schema_names()]
    return load_types(generate_types(schemas, TypesLanguage.PYTHON), "HostDescription")


@pytest.mark.parametrize("ending", ["json", "toml", "yaml"])
def test_python_takes_a_valid_description(accepts: Accept, ending: str) -> None:
    assert accepts(load_value(EXAMPLES / f"host.{ending}"))


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_python_refuses_nothing_that_the_schema_takes(accepts: Accept, option: Option) -> None:
    schema = load_combined_schema()
    for value in (*option.values, *OTHERS):
        description = option.set_to(value)
        if not validate_document(description, schema):
            assert accepts(description), value


def test_python_refuses_what_is_of_another_type(accepts: Accept) -> None:
    wrong = [{"services": {"every-channel": {"netboot": {"listenIP": "192.0.2.1", "httpport": 8080}}}}]
    wrong += [{"services": {"every-channel": {"netboot": {}}}}]  # without listenIP
    wrong += [option.set_to({"name": object()}) for option in OPTIONS]
    assert [description for description in wrong if accepts(description)] == []


def test_an_open_mapping_takes_further_names_in_python() -> None:
    accepts = load_types(generate_types([Schema(FREE, "free", "")], TypesLanguage.PYTHON), "Free")
    assert accepts({"open": {"b": "text"}})
    assert accepts({"closed": {"additionalProperties": 1}})
    assert not accepts({"closed": {}})
    assert not accepts({"closed": {"additionalProperties": 1, "b": 1}})


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Makes a program that says what it was given: its arguments and its input, as JSON."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    def make(name: str, *, directory: str = "bin", last: str = "") -> Path:
        path = tmp_path / directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        body = "import json, sys\nprint(json.dumps([sys.argv[1:], json.load(sys.stdin)]))\n"
        path.write_text(f"#!{sys.executable}\n{body}{last}")
        path.chmod(0o755)
        return path

    return make


@pytest.mark.parametrize("directory", ["bin", "node_modules/.bin"])
def test_typescript_comes_of_json2ts(program: Callable[..., Path], directory: str) -> None:
    program("json2ts", directory=directory)
    text = generate_types(
        [Schema(FREE, "free", "")], TypesLanguage.TYPESCRIPT, generator_arguments=["--no-format"]
    )
    arguments, document = json.loads(text)
    assert document == FREE
    assert arguments[0].startswith("--bannerComment=/* ")
    assert arguments[1:] == ["--no-format"]


def test_a_generator_on_the_path_comes_before_this_python_s(program: Callable[..., Path]) -> None:
    program("datamodel-codegen")
    _, document = json.loads(generate_types([Schema(FREE, "free", "")], TypesLanguage.PYTHON))
    assert document["properties"]["open"] == {"type": "object", "description": "what an open mapping holds"}
    assert document["properties"]["closed"] == FREE["properties"]["closed"]
    assert document["definitions"] == FREE["definitions"]


def test_what_a_generator_says_of_its_failure_is_told(program: Callable[..., Path]) -> None:
    program("json2ts", last="sys.exit('no: such option')")
    with pytest.raises(ProcessError, match="no: such option"):
        generate_types([Schema(FREE, "free", "")], TypesLanguage.TYPESCRIPT)


@pytest.mark.parametrize(
    ("language", "package"),
    [
        ("python", "datamodel-code-generator>=0.57 from PyPI"),
        ("typescript", "json-schema-to-typescript from npm"),
    ],
)
def test_a_generator_that_is_not_there_is_named(
    program: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, language: str, package: str
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ProgramMissingError) as raised:
        generate_types([Schema(FREE, "free", "")], TypesLanguage(language))
    assert package in str(raised.value.hint)


def test_the_command(program: Callable[..., Path], tmp_path: Path) -> None:
    program("json2ts")
    (tmp_path / "free.json").write_text(
        json.dumps({"$schema": "http://json-schema.org/draft-07/schema#", **FREE})
    )
    argv = ["schema", "types", "--typescript", "--schema", "free.json"]
    done = CliRunner().invoke(ectools, [*argv, "--generator-option=--no-format"])
    assert done.exit_code == 0
    assert json.loads(done.output)[0][1:] == ["--no-format"]
    done = CliRunner().invoke(ectools, [*argv, "-o", "free.ts"])
    assert (done.exit_code, done.output) == (0, "")
    assert json.loads((tmp_path / "free.ts").read_text())[1]["title"] == "Free"
    done = CliRunner().invoke(ectools, ["schema", "types"])
    assert done.exit_code == 2
    assert "give --python or --typescript" in done.output


def test_of_one_module(program: Callable[..., Path]) -> None:
    program("json2ts")
    done = CliRunner().invoke(ectools, ["schema", "types", "--typescript", "--schema", "ec-runner"])
    services = json.loads(done.output)[1]["properties"]["services"]["properties"]["every-channel"][
        "properties"
    ]
    assert [*services] == ["runner"]
