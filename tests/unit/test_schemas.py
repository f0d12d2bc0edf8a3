"""Finding schemas, checking documents, reading settings files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ectools import schemas
from ectools.errors import InputError, ProblemsError
from ectools.schemas import (
    Schema,
    load_schema,
    schema_names,
    schemas_directory,
    validate_document,
)
from ectools.settings_file import read_settings

PREFIX = "services.every-channel.ipxe-qemu"


def make_schema(properties: dict[str, Any], **more: Any) -> Schema:
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "x-nix-path": ["a"],
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        **more,
    }
    return Schema(document, "test", "a")


def settings_of(tmp_path: Path, content: str | bytes, schema: Schema) -> dict[str, Any]:
    path = tmp_path / "settings.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_settings(path, schema)


def test_a_committed_schema_is_found_by_name_and_by_path(tmp_path: Path) -> None:
    schema = load_schema("ec-ipxe-qemu")
    assert schema.prefix == PREFIX
    copy = tmp_path / "copy.schema.json"
    copy.write_text(json.dumps(schema.document))
    assert load_schema(copy) == Schema(schema.document, "copy", PREFIX)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError) as caught:
        load_schema("ec-ipxe-qem")
    assert "ec-ipxe-qemu" in str(caught.value.hint)
    assert "ec-ipxe-qemu" in schema_names()


@pytest.mark.parametrize("content", ["[]", '{"type": "strin"}', "{"])
def test_a_file_that_is_no_schema_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"x\.json"):
        load_schema(path)


def test_defaults_are_filled_in_at_every_depth_and_only_where_they_are_data(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, '{"boot": {"http": {"port": 1}}}', load_schema("ec-ipxe-qemu"))
    assert settings["boot"]["http"] == {"bindIp": "127.0.0.1", "enable": True, "port": 1, "root": None}
    assert settings["lan"]["macvtap"]["mode"] == "bridge"
    assert settings["boot"]["userNet"]["dnsServers"] == ["1.1.1.1"]
    for computed in ("machine", "cpu", "package"):
        assert computed not in settings
    assert "path" not in settings["disk"]
    assert "tftpDir" not in settings["boot"]["userNet"]


def test_defaults_are_filled_in_inside_lists_sets_and_alternatives(tmp_path: Path) -> None:
    inner = {
        "type": "object",
        "properties": {
            "x": {"type": "integer"},
            "y": {"default": [1], "type": "array", "x-nix-type": "list"},
        },
        "required": ["x"],
        "additionalProperties": False,
    }
    schema = make_schema(
        {
            "list": {"type": "array", "items": {"$ref": "#/$defs/inner"}, "x-nix-type": "list"},
            "set": {"type": "object", "additionalProperties": {"$ref": "#/$defs/inner"}, "x-nix-type": "set"},
            "maybe": {
                "anyOf": [{"type": "null"}, {"$ref": "#/$defs/inner"}],
                "default": None,
                "x-nix-type": "or",
            },
        },
        **{"$defs": {"inner": inner}},
    )
    text = '{"list": [{"x": 1}], "set": {"k": {"x": 2}}, "maybe": {"x": 3, "y": []}}'
    assert settings_of(tmp_path, text, schema) == {
        "list": [{"x": 1, "y": [1]}],
        "set": {"k": {"x": 2, "y": [1]}},
        "maybe": {"x": 3, "y": []},
    }
    assert settings_of(tmp_path, "{}", schema) == {"maybe": None}


def test_a_default_is_not_shared_between_two_readings(tmp_path: Path) -> None:
    schema = load_schema("ec-ipxe-qemu")
    settings_of(tmp_path, "{}", schema)["extraArgs"].append("-S")
    assert settings_of(tmp_path, "{}", schema)["extraArgs"] == []


def test_every_wrong_field_is_reported_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = '{"vcpus": 0, "boot": {"http": {"port": 70000}, "order": null}, "extraArgs": ["ok", 3], "name": 5}'
    with pytest.raises(ProblemsError) as caught:
        settings_of(tmp_path, text, load_schema("ec-ipxe-qemu"))
    assert [problem.option for problem in caught.value.problems] == [
        f"{PREFIX}.vcpus",
        f"{PREFIX}.boot.http.port",
        f"{PREFIX}.boot.order",
        f"{PREFIX}.extraArgs[1]",
        f"{PREFIX}.name",
    ]
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "option", "expected"),
    [
        ('{"vcpus": true}', "vcpus", "an integer of at least 1"),
        ('{"vcpus": 1.0}', "vcpus", "an integer of at least 1"),
        ('{"vcpus": 9223372036854775808}', "vcpus", "an integer of at least 1"),
        ('{"boot": {"http": {"port": -1}}}', "boot.http.port", "an integer from 0 to 65535"),
        ('{"enableKvm": "yes"}', "enableKvm", "true or false"),
        ('{"package": "/usr"}', "package", "a store path (/nix/store/…)"),
        ('{"boot": {"http": {"root": 1}}}', "boot.http.root", "null or a string"),
        ('{"extraArgs": "-S"}', "extraArgs", "a list, each a string"),
        ('{"boot": []}', "boot", "an object"),
        (
            '{"lan": {"macvtap": {"mode": "brige"}}}',
            "lan.macvtap.mode",
            'one of "private", "vepa", "bridge", "passthru", "source"',
        ),
    ],
)
def test_what_was_expected_is_said_in_words(tmp_path: Path, text: str, option: str, expected: str) -> None:
    with pytest.raises(ProblemsError) as caught:
        settings_of(tmp_path, text, load_schema("ec-ipxe-qemu"))
    (problem,) = caught.value.problems
    assert (problem.option, problem.expected) == (f"{PREFIX}.{option}", expected)


def test_a_store_path_is_a_package(tmp_path: Path) -> None:
    path = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-qemu"
    settings = settings_of(tmp_path, json.dumps({"package": path}), load_schema("ec-ipxe-qemu"))
    assert settings["package"] == path


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('{"vcpu": 1}', f"did you mean {PREFIX}.vcpus?"),
        ('{"enablekvm": true}', f"did you mean {PREFIX}.enableKvm?"),
        ('{"dnsServers": []}', f"did you mean {PREFIX}.boot.userNet.dnsServers?"),
        ('{"disk": {"zzzz": 1}}', "the names here are: path, size"),
    ],
)
def test_an_unknown_name_comes_with_a_nearby_one(tmp_path: Path, text: str, hint: str) -> None:
    with pytest.raises(ProblemsError) as caught:
        settings_of(tmp_path, text, load_schema("ec-ipxe-qemu"))
    (problem,) = caught.value.problems
    assert problem.hint == hint


def test_of_alternatives_the_closest_is_explained() -> None:
    branch = {
        "type": "object",
        "properties": {"port": {"type": "integer"}, "host": {"type": "string"}},
        "required": ["port", "host"],
        "additionalProperties": False,
    }
    schema = make_schema({"x": {"anyOf": [{"type": "null"}, {"type": "string"}, branch]}})
    problems = validate_document({"x": {"port": "80", "host": "h"}}, schema)
    assert [(problem.option, problem.expected) for problem in problems] == [("a.x.port", "an integer")]
    problems = validate_document({"x": {"port": 80}}, schema)
    assert [problem.option for problem in problems] == ["a.x.host"]
    (problem,) = validate_document({"x": 1}, schema)
    assert (problem.option, problem.expected) == ("a.x", "null, a string or an object")


def test_each_missing_name_is_reported_once() -> None:
    schema = make_schema({"x": {"type": "string"}, "y": {"type": "string"}}, required=["x", "y"])
    assert [problem.option for problem in validate_document({}, schema)] == ["a.x", "a.y"]


@pytest.mark.parametrize(
    ("content", "message", "line"),
    [
        ('{"name": "a", "name": "b"}', '"name" twice', None),
        ('{"vcpus": NaN}', "NaN", None),
        ('{"vcpus": -Infinity}', "-Infinity", None),
        ('{"vcpus": 1e999}', "1e999", None),
        ('{"vcpus": 1' + "0" * 5000 + "}", "64 bit", None),
        (b'{\n"name": "\xff"}', "not UTF-8", 2),
        (b'\xef\xbb\xbf{"name": "a"}', "byte order mark", 1),
        ("[]", "a list where a JSON object", None),
        ("null", "null where a JSON object", None),
        ("", "not JSON", 1),
        ('{"name": "a",\n}', "not JSON", None),
        ("[" * 100_000, "nested too deeply", None),
        ('{"name": "a\\u0000"}', "NUL", None),
        ('{"name": "\\ud800"}', "surrogate", None),
    ],
)
def test_a_file_that_is_not_strict_json_is_refused(
    tmp_path: Path, content: str | bytes, message: str, line: int | None
) -> None:
    with pytest.raises(ProblemsError) as caught:
        settings_of(tmp_path, content, load_schema("ec-ipxe-qemu"))
    (problem,) = caught.value.problems
    assert message in problem.message
    assert problem.option.startswith(PREFIX)
    if line is not None:
        assert problem.line == line


def test_a_file_that_cannot_be_read_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_settings(tmp_path / "absent.json", load_schema("ec-ipxe-qemu"))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["boot", "http", "port", "lan", "macvtap", "mode", "vcpus", "extraArgs", "package", "x"]
)
DOCUMENTS = st.recursive(
    JSON_VALUES,
    lambda inner: st.dictionaries(NAMES, inner, max_size=4) | st.lists(inner, max_size=2),
    max_leaves=12,
)


@given(DOCUMENTS)
def test_validation_of_anything_yields_problems_below_the_prefix_and_never_raises(document: Any) -> None:
    schema = load_schema("ec-ipxe-qemu")
    problems = validate_document(document, schema)
    assert all(problem.option.startswith(PREFIX) for problem in problems)
    assert all(problem.render() for problem in problems)
    if not isinstance(document, dict):
        assert problems


@pytest.mark.parametrize(("size", "works"), [(16 << 20, True), ((16 << 20) + 1, False)])
def test_settings_have_at_most_16_mebibytes(size: int, works: bool, tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_bytes(b"{}".ljust(size))
    if works:
        assert read_settings(path, make_schema({})) == {}
    else:
        with pytest.raises(InputError, match=r"settings\.json: is larger than"):
            read_settings(path, make_schema({}))


@pytest.mark.parametrize(
    ("content", "message", "line", "column"),
    [
        (b'{\n\n"a": \xff}', "is not UTF-8: byte 8 is 0xff", 3, None),
        (b"\xef\xbb\xbf{}", "starts with a byte order mark, which JSON does not have", 1, 1),
        (b'{\n"a": 1,\n}', "is not JSON: ", 3, 1),
        (b'{"a": 1,\n "a": 2}', 'has the key "a" twice in one object', 2, 2),
        (b'{"a": 123456789012345678901}', "holds 12345678901234567890…, which is more than", 1, 7),
        (b'{"a": Infinity}', "holds Infinity, which JSON does not have", 1, 7),
        (
            b'{"a": [1,\n' + b"9" * 21 + b"]}",
            "holds 99999999999999999999…, which is more than a 64 bit",
            2,
            1,
        ),
        (b'{"a":' * 100_000, "is nested too deeply", 1, 1006),
        (b'{"a": -1e999}', "holds -1e999, which is more than", 1, 7),
        (b'"text"', "holds a string where a JSON object was expected", None, None),
    ],
)
def test_where_a_file_is_no_settings(
    content: bytes, message: str, line: int | None, column: int | None, tmp_path: Path
) -> None:
    with pytest.raises(ProblemsError) as caught:
        settings_of(tmp_path, content, make_schema({}))
    (problem,) = caught.value.problems
    assert caught.value.message == f"{tmp_path}/settings.json: cannot be used"
    assert problem.message.startswith(message)
    assert (problem.option, problem.file) == ("a", f"{tmp_path}/settings.json")
    assert problem.line == line
    if column is not None:
        assert problem.column == column


def test_an_integer_of_twenty_characters_is_read(tmp_path: Path) -> None:
    schema = make_schema({"x": {"type": "integer"}})
    assert settings_of(tmp_path, '{"x": -9223372036854775808}', schema) == {"x": -(2**63)}


def test_the_error_counts_its_problems(tmp_path: Path) -> None:
    schema = make_schema({"x": {"type": "integer"}, "y": {"type": "integer"}})
    for text, count in (('{"x": "1"}', "1 problem"), ('{"x": "1", "y": "2"}', "2 problems")):
        with pytest.raises(ProblemsError) as caught:
            settings_of(tmp_path, text, schema)
        assert caught.value.message == f"{tmp_path}/settings.json: {count} in the settings"


def test_a_bad_text_is_named_wherever_it_stands(tmp_path: Path) -> None:
    schema = make_schema({"x": {}})
    text = (
        '{"x": {"list": ["ok", "a\\u0000"], "b\\u0000": 1, "c": "\\ud800", "d": "\\udfff", "e": "\\ue000"}}'
    )
    with pytest.raises(ProblemsError) as caught:
        settings_of(tmp_path, text, schema)
    assert [(problem.option, problem.message) for problem in caught.value.problems] == [
        ("a.x.list[1]", "holds a NUL character"),
        (r'a.x."b\u0000"', "holds a NUL character"),
        ("a.x.c", "holds half of a surrogate pair"),
        ("a.x.d", "holds half of a surrogate pair"),
    ]


def test_a_schema_that_is_none_says_why(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("[]")
    with pytest.raises(InputError, match=r"x\.json: not a JSON Schema: it is no object"):
        load_schema(str(path))
    path.write_text('{"type": "strin"}')
    with pytest.raises(InputError, match=r"x\.json: not a JSON Schema: /type is 'strin', where"):
        load_schema(path)
    assert load_schema(path, checked=False) == Schema({"type": "strin"}, "x", "")
    with pytest.raises(InputError, match=r"missing\.json: cannot be read: No such file"):
        load_schema("missing.json")
    with pytest.raises(InputError, match=r"^missing: there is no schema of that name"):
        load_schema("missing")


def test_names_are_sorted_and_those_of_the_committed_files() -> None:
    names = schema_names()
    assert names == sorted(names)
    assert all((schemas_directory() / f"{name}.schema.json").is_file() for name in names)


def test_an_installed_package_has_its_schemas_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemas, "_PACKAGE", tmp_path / "ectools")
    assert schemas_directory() == tmp_path / "schemas"
    (tmp_path / "ectools/_schemas").mkdir(parents=True)
    assert schemas_directory() == tmp_path / "ectools/_schemas"
    with pytest.raises(InputError) as caught:
        load_schema("any")
    assert caught.value.hint == "the names are: none"


class TestDialects:
    @staticmethod
    def load(tmp_path: Path, document: dict[str, Any]) -> Schema:
        path = tmp_path / "s.json"
        path.write_text(json.dumps(document))
        return load_schema(path)

    @pytest.mark.parametrize(
        ("said", "schema", "good", "bad"),
        [
            ("http://json-schema.org/draft-04/schema#", {"minimum": 1, "exclusiveMinimum": True}, 2, 1),
            ("http://json-schema.org/draft-06/schema", {"items": [{"type": "string"}]}, ["a"], [1]),
            ("https://json-schema.org/draft-07/schema#", {"if": {"const": 1}, "then": False}, 2, 1),
            (
                "http://json-schema.org/draft-07/schema#",
                {"dependencies": {"a": ["b"]}},
                {"a": 1, "b": 1},
                {"a": 1},
            ),
            (
                "https://json-schema.org/draft/2019-09/schema",
                {"items": [True], "additionalItems": False},
                [1],
                [1, 2],
            ),
            (
                "https://json-schema.org/draft/2020-12/schema",
                {"prefixItems": [{"type": "string"}]},
                ["a"],
                [1],
            ),
        ],
    )
    def test_a_schema_means_what_its_dialect_says(
        self, tmp_path: Path, said: str, schema: dict[str, Any], good: Any, bad: Any
    ) -> None:
        loaded = self.load(tmp_path, {"$schema": said, **schema})
        assert validate_document(good, loaded) == []
        assert len(validate_document(bad, loaded)) == 1

    @pytest.mark.parametrize("said", ["http://json-schema.org/draft-03/schema#", "https://example.org/x", 3])
    def test_another_dialect_is_refused_by_name(self, tmp_path: Path, said: Any) -> None:
        with pytest.raises(InputError, match="is not supported") as caught:
            self.load(tmp_path, {"$schema": said})
        assert "draft-07" in str(caught.value.hint)

    def test_a_fault_of_an_older_dialect_is_told(self, tmp_path: Path) -> None:
        said = "http://json-schema.org/draft-04/schema#"
        with pytest.raises(
            InputError, match="not a JSON Schema: /exclusiveMinimum is 1, where true or false"
        ):
            self.load(tmp_path, {"$schema": said, "minimum": 1, "exclusiveMinimum": 1})

    def test_nothing_is_ever_fetched(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("a request"))
        for said in (None, "http://json-schema.org/draft-07/schema#"):
            document = {"properties": {"a": {"$ref": "http://127.0.0.1:9/x.json"}}}
            with pytest.raises(InputError, match="leads out of this document, and nothing is fetched"):
                self.load(tmp_path, document if said is None else {"$schema": said, **document})


@pytest.mark.parametrize(
    ("form", "right", "wrong"),
    [
        ("date", "2026-11-29", "29.11.2026"),
        ("email", "a@b", "a"),
        ("ipv4", "192.0.2.1", "192.0.2.256"),
        ("ipv6", "2001:db8::1", "2001:db8"),
        ("regex", "a|b", "("),
        ("uri", "https://h/a%20b?c#d", "//h/a"),
        ("uri", "urn:x", "https://h/a b"),
        ("uri", "a:", "https://h/%zz"),
        ("hostname", "h", None),
    ],
)
def test_a_format_is_a_rule_up_to_draft_7_and_a_note_since(form: str, right: str, wrong: str | None) -> None:
    def judge(value: Any, dialect: str) -> bool:
        document = {"properties": {"a": {"format": form}}}
        return validate_document({"a": value}, Schema(document, "x", "", dialect)) == []

    for dialect in ("draft-04", "draft-06", "draft-07"):
        assert judge(right, dialect)
        assert judge(3, dialect)
        assert wrong is None or not judge(wrong, dialect)
    for dialect in ("2019-09", "2020-12"):
        assert judge(wrong, dialect)
