"""What a problem says beside its place: what was expected, what was meant, what the option is for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.host_contract import CONTRACT, MODULE

from ectools import host, schemas
from ectools.documents.problem import build_sarif, show_json
from ectools.errors import InputError, ProblemsError
from ectools.files import FileError
from ectools.host.combined_schema import build_combined_schema, is_package, load_combined_schema
from ectools.host.fast_validate import fast_validate
from ectools.options import types
from ectools.schemas import Schema, validate_document

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


class TestSchemasSideBySide:
    """Two modules with options in one group, and what else may stand there."""

    @staticmethod
    def build(*, is_open: bool) -> Schema:
        def make(name: str, path: list[str], group: dict[str, Any]) -> Schema:
            return Schema({"x-nix-path": path, "type": "object", **group}, name, prefix=".".join(path))

        leaf = {"type": "integer", "x-nix-type": "integer"}
        closed = {"additionalProperties": False}
        outer = make("outer", ["s"], {"properties": {"g": {"type": "object", "properties": {"a": leaf}}}})
        inner = make("inner", ["s", "g"], {"properties": {"b": leaf}, **closed})
        other = make("other", ["s", "h"], {"properties": {"c": leaf}, **closed})
        return build_combined_schema([outer, inner, other], is_open=is_open)

    @pytest.mark.parametrize(
        ("document", "is_valid"),
        [
            ({"s": {"g": {"a": 1, "b": 2}, "h": {"c": 3}}}, True),
            ({"s": {"g": {"a": ""}}}, False),
            ({"s": {"g": {"b": ""}}}, False),
            ({"s": {"g": {"more": 1}}}, True),
            ({"s": {"h": {"more": 1}}}, False),
        ],
    )
    def test_both_hold(self, document: dict[str, Any], *, is_valid: bool) -> None:
        assert (validate_document(document, self.build(is_open=True)) == []) is is_valid

    def test_outside_of_them_any_name_may_stand_where_there_are_further_modules(self) -> None:
        document = {"t": {"x": 1}}
        assert validate_document(document, self.build(is_open=True)) == []
        assert len(validate_document(document, self.build(is_open=False))) == 1


def find_problem(body: str) -> host.OptionProblem:
    text = f"[services.test]\n{body}"
    (problem,) = host.validate_host(
        host.parse_host(text.encode(), file="h.toml", form=host.HostFormat.TOML), CONTRACT
    )
    return problem


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("port = 70000", "an integer from 0 to 65535"),
        ("enable = 1", "true or false"),
        ('mode = "x"', 'one of "bridge", "private", "passthru"'),
        ('root = "x"', "null or an absolute path"),
        ("servers = []", "a list of at least one item, each a string"),
    ],
)
def test_what_was_expected(body: str, expected: str) -> None:
    assert find_problem(body).expected == expected


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        ("prt = 1", "did you mean services.test.port?"),
        ("Port = 1", "did you mean services.test.port?"),
        ("extrapackages = []", "did you mean services.test.extraPackages?"),
        ('listen.addres = "x"', "did you mean services.test.listen.address?"),
        ('address = "x"', "did you mean services.test.listen.address?"),
        ('mode = "brigde"', 'did you mean "bridge"?'),
        ('enable = "true"', "write true without quotes"),
        ('port = "80"', "write 80 without quotes"),
        ('port = "many"', None),
        ("name = 80", 'put it in quotes: "80"'),
        ("root = true", 'put it in quotes: "true"'),
        ("enable = 1", None),
        ('size = "16 GB"', None),
    ],
)
def test_what_was_meant(body: str, hint: str | None) -> None:
    assert find_problem(body).hint == hint


def test_a_problem_as_text() -> None:
    assert find_problem("port = 70000").render() == (
        "h.toml:2:8: services.test.port: is 70000 (an integer)\n"
        "  expected: an integer from 0 to 65535\n"
        "  option: The `16 bit unsigned integer` of it.\n"
        "  declared in: nix/modules/test.nix:6"
    )


def test_a_problem_in_a_list_tells_of_the_option_that_the_list_is() -> None:
    problem = find_problem("args = [1]")
    assert (problem.option, problem.declared_in) == ("services.test.args[0]", "nix/modules/test.nix:14")


def test_a_problem_as_json() -> None:
    assert show_json(find_problem("port = 70000")) == {
        "file": "h.toml",
        "line": 2,
        "column": 8,
        "kind": "wrong-value",
        "option": "services.test.port",
        "message": "is 70000 (an integer)",
        "expected": "an integer from 0 to 65535",
        "description": "The `16 bit unsigned integer` of it.",
        "declaredIn": "nix/modules/test.nix:6",
        "value": 70000,
    }
    assert "value" not in show_json(find_problem('[services.test.disks.a]\nmode = "raw"'))
    assert show_json(find_problem("prot = 1"))["kind"] == "unknown-option"


def test_a_problem_as_sarif() -> None:
    log = build_sarif([find_problem("port = 70000"), find_problem("prot = 1")])
    (run,) = log["runs"]
    rules = {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    assert log["version"] == "2.1.0"
    assert [result["ruleId"] for result in run["results"]] == ["wrong-value", "unknown-option"]
    assert {result["ruleId"] for result in run["results"]} <= rules
    assert run["results"][0]["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "h.toml"},
        "region": {"startLine": 2, "startColumn": 8},
    }
    assert run["results"][0]["message"]["text"] == (
        "services.test.port: is 70000 (an integer). Expected: an integer from 0 to 65535."
    )


def test_packages_are_known_by_what_the_export_writes() -> None:
    options = {
        "a": {"type": "string", "pattern": types.STORE_PATH},
        "b": {"type": "string", "pattern": types.IN_STORE},
        "c": {"type": "string", "pattern": "^/nix/store/[^.]"},  # lib.types.pathInStore
    }
    contract = build_combined_schema([Schema({"type": "object", "properties": options}, "x", "")])
    assert is_package(contract.document["properties"]["a"])
    assert not is_package(contract.document["properties"]["b"])
    assert not is_package(contract.document["properties"]["c"])


def test_a_read_only_option_is_not_to_be_set() -> None:
    inner = {
        "type": "object",
        "properties": {"final": {"type": "string", "readOnly": True, "x-nix-type": "string"}},
    }
    options = {
        "out": {"readOnly": True, "x-nix-type": "raw"},
        "note": {"readOnly": True},
        "jobs": {"type": "object", "additionalProperties": inner},
    }
    schema = Schema({"type": "object", "properties": options}, "x", "")
    text = b"out: 1\nnote: 1\njobs:\n  a:\n    final: x\n"
    description = host.parse_host(text, file="h", form=host.HostFormat.YAML)
    found = [(each.option, each.message, each.line) for each in host.validate_host(description, schema)]
    assert found == [("out", "is read-only", 1), ("jobs.a.final", "is read-only", 5)]
    # A settings file holds what a configuration came out as.
    assert validate_document(description.root.value, schema) == []
    assert host.validate_host(host.parse_host(b"jobs: {}", file="h", form=host.HostFormat.YAML), schema) == []


def test_a_package_is_asked_for_as_one() -> None:
    options = {"p": {"type": "string", "pattern": types.STORE_PATH}}
    contract = build_combined_schema([Schema({"type": "object", "properties": options}, "x", "")])
    (problem,) = host.validate_host(host.parse_host(b"p: a b", file="h", form=host.HostFormat.YAML), contract)
    assert problem.expected == "a package (pkgs.NAME)"


@pytest.mark.parametrize(
    "name", ["hello", "pkgs.hello", "python3Packages.requests", "pkgs.nodePackages_latest.x-y"]
)
def test_packages_are_named(name: str) -> None:
    text = json.dumps({"services": {"test": {"package": name, "extraPackages": [name], "fallback": name}}})
    assert (
        host.validate_host(host.parse_host(text.encode(), file="h", form=host.HostFormat.JSON), CONTRACT)
        == []
    )


@pytest.mark.parametrize(
    "schema",
    [
        {"required": ["$schema"]},
        {"properties": {"$schema": {"const": "s"}}, "additionalProperties": False},
        {"allOf": [{"$ref": "#/$defs/file"}], "$defs": {"file": {"properties": {"$schema": {"const": "s"}}}}},
    ],
)
def test_a_schema_that_asks_for_the_key_of_editors_gets_it(schema: dict[str, Any]) -> None:
    contract = build_combined_schema([Schema(schema, "x", "")])

    def find(data: str) -> list[str]:
        description = host.parse_host(data.encode(), file="h", form=host.HostFormat.JSON)
        return [problem.option for problem in host.validate_host(description, contract)]

    assert find('{"$schema": "s"}') == []
    assert find('{"$schema": "t"}') == ([] if "required" in schema else ['"$schema"'])
    assert find("{}") == (['"$schema"'] if "required" in schema else [])


def test_a_type_of_itself_asks_for_no_key() -> None:
    contract = Schema({"anyOf": [{"additionalProperties": {"$ref": "#"}}]}, "x", "")
    description = host.parse_host(b'{"$schema": "s"}', file="h", form=host.HostFormat.JSON)
    assert host.validate_host(description, contract) == []


def test_a_schema_without_a_path_describes_the_whole_file() -> None:
    contract = build_combined_schema(
        [Schema({"type": "object", "additionalProperties": {"type": "integer"}}, "x", "")]
    )
    description = host.parse_host(b"a: 1\nb: x", file="h", form=host.HostFormat.YAML)
    assert [problem.option for problem in host.validate_host(description, contract)] == ["b"]


@pytest.mark.parametrize("name", ["default", "enum", "examples", "const"])
def test_an_option_may_have_the_name_of_a_keyword(name: str) -> None:
    inner = {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": False}
    module = {"type": "object", "properties": {name: {"$ref": f"#/$defs/{name}"}}, "$defs": {name: inner}}
    inner["properties"]["more"] = {"$ref": f"#/$defs/{name}"}
    contract = build_combined_schema([Schema(module, "x", "")])
    text = json.dumps({name: {"more": {"a": "b"}}}).encode()
    (problem,) = host.validate_host(host.parse_host(text, file="h", form=host.HostFormat.JSON), contract)
    assert problem.option == f"{name}.more.a"


@pytest.mark.parametrize("path", [[], ["a", "b/c"]])
def test_a_schema_may_refer_to_itself_and_to_any_part_of_it(path: list[str]) -> None:
    module = {
        "$id": "https://example.org/s",
        "x-nix-path": path,
        "properties": {"self": {"$ref": "#"}, "n": {"type": "integer"}, "m": {"$ref": "#/properties/n"}},
        "additionalProperties": False,
    }
    contract = build_combined_schema([Schema(module, "x", "")])
    for good, value in ((True, {"self": {"self": {"m": 1}}}), (False, {"self": {"self": {"m": "x"}}})):
        document: Any = value
        for step in reversed(path):
            document = {step: document}
        text = json.dumps(document).encode()
        problems = host.validate_host(host.parse_host(text, file="h", form=host.HostFormat.JSON), contract)
        assert (problems == []) is good


def test_schemas_of_two_dialects_are_not_combined() -> None:
    with pytest.raises(
        InputError, match="several dialects of JSON Schema: a is of 2020-12, b is of draft-07"
    ):
        build_combined_schema([Schema({}, "a", ""), Schema({}, "b", "", "draft-07")])


def test_two_modules_in_one_file() -> None:
    other = {**MODULE, "x-nix-path": ["services", "other"]}
    contract = build_combined_schema(
        [Schema(MODULE, "test", "services.test"), Schema(other, "other", "services.other")]
    )
    text = "services: {test: {disk: {path: x}}, other: {disk: {path: 1}}, third: {}}"
    problems = host.validate_host(
        host.parse_host(text.encode(), file="h", form=host.HostFormat.YAML), contract
    )
    assert [problem.option for problem in problems] == ["services.other.disk.path", "services.third"]


# Values near the schema: its own names, its own constants, and what is beside them.
near_values = st.recursive(
    st.sampled_from(
        (None, True, False, 0, 1, -1, 1.0, 0.5, 65535, 65536, 2**63, "", "/x", "16G", "raw", "pkgs.jq", "x y")
    ),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from([*MODULE["properties"], "path", "sizeGiB", "mode", "address", "tls", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(list(MODULE["properties"])), near_values, max_size=3))
def test_what_is_accepted_fast_is_accepted_by_jsonschema(value: dict[str, Any]) -> None:
    document = {"services": {"test": value}}
    problems = schemas.validate_document(document, CONTRACT)
    assert fast_validate(document, CONTRACT.document, CONTRACT.document) == (not problems)


@pytest.mark.parametrize(
    "schema", [{"if": {}}, {"not": {}}, {"format": "uri"}, {"type": ["string"]}, {"oneOf": []}]
)
def test_a_keyword_that_is_not_known_is_left_to_jsonschema(schema: dict[str, Any]) -> None:
    assert not fast_validate("x", schema, schema)


@pytest.mark.parametrize("name", ["host.toml", "host.yaml", "host.json"])
def test_the_examples_are_valid_and_one(name: str) -> None:
    description = host.load_host(EXAMPLES / name)
    assert host.validate_host(description) == []
    assert description.root.value == host.load_host(EXAMPLES / "host.toml").root.value


@pytest.mark.parametrize("path", sorted((EXAMPLES / "broken").iterdir()), ids=lambda path: path.name)
def test_the_broken_examples_are_broken(path: Path) -> None:
    try:
        problems = list(host.validate_host(host.load_host(path)))
    except ProblemsError as error:
        problems = [problem for problem in error.problems if isinstance(problem, host.OptionProblem)]
    assert problems
    assert all(problem.line and problem.column for problem in problems)


def test_the_project_has_a_contract() -> None:
    assert fast_validate(
        {"services": {"every-channel": {}}}, load_combined_schema().document, load_combined_schema().document
    )


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"h\.toml: cannot be read"):
        host.load_host(tmp_path / "h.toml")


def test_a_suffix_that_is_not_known(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"h\.ini: the format is not known"):
        host.load_host(tmp_path / "h.ini")


def test_a_byte_order_mark_is_skipped() -> None:
    assert host.parse_host(b"\xef\xbb\xbf{}", file="h", form=host.HostFormat.JSON).root.value == {}
