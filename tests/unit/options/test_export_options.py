"""What of an option stands in the schema, and which options must be set."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ectools.options.causes import Cause, Step
from ectools.options.dump import Dump, Tree
from ectools.options.export import Export, ExportFinding, export_tree

STR = {"name": "str", "description": "string"}


def export(*options: dict[str, Any], path: tuple[str, ...] = ("s",), empty: bool = True) -> Export:
    tree = Tree("module", path, list(options))
    roots = (("/a/", "first/"), ("/a/b/", "second/"), ("/c/", ""))
    return export_tree(Dump(empty_is_default=empty, roots=roots, trees=(tree,)), tree)


def option(name: str = "x", **fields: Any) -> dict[str, Any]:
    return {"path": name.split("."), "type": STR, **fields}


def exported(**fields: Any) -> dict[str, Any]:
    schema: dict[str, Any] = export(option(**fields)).document["properties"]["x"]
    return schema


def test_a_document_says_what_it_is() -> None:
    document = export(option(), path=("services", "odd name")).document
    assert list(document)[:3] == ["$schema", "title", "x-nix-path"]
    assert document["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert document["title"] == 'services."odd name"'
    assert document["x-nix-path"] == ["services", "odd name"]
    assert document["type"] == "object"
    assert document["additionalProperties"] is False
    assert export(path=()).document["title"] == "module"
    assert "$defs" not in document


def test_a_plain_option() -> None:
    assert exported(description="words \n\n", default=None, internal=False, visible=True) == {
        "description": "words \n\n",
        "type": "string",
        "x-nix-type": "string",
        "x-nix-declarations": [],
    }


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"default": {"value": {"float": [1, 0]}}}, {"default": 1.0}),
        ({"default": {"value": None}}, {"default": None}),
        ({"default": {"text": " pkgs.x\n"}}, {"x-nix-default-text": " pkgs.x\n"}),
        ({"default": {"markdown": "some *words*\n"}}, {"x-nix-default-markdown": "some *words*\n"}),
        ({"example": {"value": {"set": {"a": 1}}}}, {"examples": [{"a": 1}]}),
        ({"example": {"text": "\nx "}}, {"x-nix-example-text": "\nx "}),
        ({"example": {"markdown": "w"}}, {"x-nix-example-markdown": "w"}),
        ({"readOnly": True}, {"readOnly": True}),
        ({"internal": True}, {"x-nix-internal": True}),
        ({"visible": False}, {"x-nix-visible": False}),
        ({"visible": "shallow"}, {"x-nix-visible": "shallow"}),
        ({"relatedPackages": "a, b"}, {"x-nix-related-packages": "a, b"}),
        ({"empty": True, "emptyDefault": {"value": []}}, {"x-nix-empty": []}),
        (
            {"modules": ["/a/x.nix", "inline.nix", "<unknown-file>"]},
            {"x-nix-modules": ["first/x.nix", "inline.nix"]},
        ),
    ],
)
def test_what_an_option_says_besides(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    plain = exported()
    assert exported(**fields) == {**plain, **expected}
    assert exported(readOnly=False) == plain


def test_an_option_without_a_type_is_still_told_from_a_group() -> None:
    document = export({"path": ["x"]}).document
    assert document["properties"]["x"] == {"x-nix-type": "unspecified value", "x-nix-declarations": []}
    assert "required" not in document


def test_declarations_are_relative_to_the_first_root_that_they_are_in() -> None:
    places = [
        {"file": "/a/x.nix", "line": 7},
        {"file": "/a/b/y.nix", "line": None},
        {"file": "/ab/z.nix", "line": 0},
        {"file": "/c/d/a/e.nix", "line": 1},
        {"file": "<unknown-file>", "line": 2},
    ]
    assert exported(declarations=places)["x-nix-declarations"] == [
        "first/x.nix#L7",
        "first/b/y.nix",
        "/ab/z.nix#L0",
        "d/a/e.nix#L1",
    ]


class TestRequired:
    @pytest.mark.parametrize(
        "fields",
        [
            {"default": {"value": 1}},
            {"default": {"text": "x"}},
            {"readOnly": True},
            {"broken": ["default"]},
            {"type": None},
            {"visible": False},
            {"internal": True},
            {"empty": True},
            {"defined": True},
        ],
    )
    def test_what_need_not_be_set(self, fields: dict[str, Any]) -> None:
        assert "required" not in export(option(**fields)).document

    @pytest.mark.parametrize(
        "fields", [{}, {"visible": True}, {"visible": "shallow"}, {"example": {"value": 1}}, {"empty": False}]
    )
    def test_what_must_be_set(self, fields: dict[str, Any]) -> None:
        assert export(option(**fields)).document["required"] == ["x"]

    def test_an_older_lib_has_no_empty_values(self) -> None:
        assert export(option(empty=True), empty=False).document["required"] == ["x"]

    def test_the_groups_around_it_must_be_there_too_and_are_named_once(self) -> None:
        document = export(
            option("g.h.a"),
            option("g.h.b"),
            option("g.c", default={"value": 1}),
            option("k.d", internal=True),
        ).document
        assert document["required"] == ["g"]
        group = document["properties"]["g"]
        assert group["required"] == ["h"]
        assert group["properties"]["h"]["required"] == ["a", "b"]
        assert list(group["properties"]) == ["h", "c"]
        assert "required" not in document["properties"]["k"]
        assert group["additionalProperties"] is False
        assert "x-nix-type" not in group

    def test_in_a_submodule_of_a_whole_configuration_they_must(self) -> None:
        inner = {"name": "submodule", "description": "submodule", "options": [option("i")]}
        document = export(option("x", type=inner), path=()).document
        assert "required" not in document
        assert document["$defs"]["x"]["required"] == ["i"]

    def test_in_a_tree_whose_owner_does_not_say_so_nothing_must(self) -> None:
        inner = {"name": "submodule", "description": "submodule", "options": [option("i")]}
        tree = Tree("module", ("s",), [option("x", type=inner)])
        dump = Dump(empty_is_default=True, roots=(), trees=(tree,), required=False)
        document = export_tree(dump, tree).document
        assert "required" not in document
        assert "required" not in document["$defs"]["x"]


def test_definitions_are_sorted() -> None:
    def submodule() -> dict[str, Any]:
        return {"name": "submodule", "description": "submodule", "options": [option("i")]}

    document = export(option("b", type=submodule()), option("a", type=submodule())).document
    assert list(document["properties"]) == ["b", "a"]
    assert list(document["$defs"]) == ["a", "b"]


class TestBroken:
    @pytest.mark.parametrize(
        ("part", "advice"),
        [
            ("default", "its default does not evaluate: give it a defaultText"),
            ("description", "its description does not evaluate: make it a text"),
            ("example", "its example does not evaluate: write it as lib.literalExpression"),
            ("option", "it does not evaluate as an option: declare it with lib.mkOption"),
            ("rest", "where it is declared, or a flag of it, does not evaluate"),
            ("type", "its type does not evaluate: make it one that needs no configuration"),
        ],
    )
    def test_each_part_has_its_advice(self, part: str, advice: str) -> None:
        result = export(option("g.x", broken=[part]))
        assert result.findings == (ExportFinding("s.g.x", part),)
        assert result.findings[0].render().startswith(f"s.g.x: {advice}")
        assert "\n" not in result.findings[0].render()

    @pytest.mark.parametrize(("part", "marked"), [("type", True), ("option", True), ("rest", False)])
    def test_a_type_that_is_missing_is_marked(self, part: str, marked: bool) -> None:
        schema = export({"path": ["x"], "broken": [part]}).document["properties"]["x"]
        assert schema.get("x-nix-unrepresentable") == ("the type could not be evaluated" if marked else None)
        assert schema["x-nix-broken"] == {part: {}}

    def test_what_nix_says_of_it_stands_in_the_schema_and_in_the_finding(self) -> None:
        trace = (Step("while evaluating", "/elsewhere/y.nix", 2), Step("from text", "«string»", 1))
        causes = {
            "default": Cause(Step("no", "/a/x.nix", 7), trace),
            "type": Cause(Step("infinite recursion encountered")),
        }
        result = export(option(broken=["default", "rest", "type"], causes=causes))
        assert result.document["properties"]["x"]["x-nix-broken"] == {
            "default": {
                "message": "no",
                "at": "first/x.nix#L7",
                "trace": ["while evaluating, at /elsewhere/y.nix#L2"],
            },
            "rest": {},
            "type": {"message": "infinite recursion encountered"},
        }
        first, second, third = (finding.render().splitlines()[1:] for finding in result.findings)
        assert first == ["  nix: no, at first/x.nix#L7", "    while evaluating, at /elsewhere/y.nix#L2"]
        assert second == []
        assert third == ["  nix: infinite recursion encountered"]

    def test_in_a_submodule_it_is_named_by_its_whole_path(self) -> None:
        inner = {
            "name": "submodule",
            "description": "submodule",
            "options": [option("i", broken=["default", "rest"])],
        }
        node = {"name": "attrsOf", "description": "set", "elem": inner}
        found = export(option("x", type=node)).findings
        assert [(each.option, each.part) for each in found] == [
            ("s.x.<name>.i", "default"),
            ("s.x.<name>.i", "rest"),
        ]


@pytest.mark.parametrize(
    "value", [{}, [], [{}], {"a": []}, None, 0, 1, True, False, -0.0, 1e300, "", 'q"\\\n', [True, 1, 1.0]]
)
def test_the_text_keeps_every_kind_of_value(value: Any) -> None:
    text = Export("n", {"k": value, "l": [value, [value]]}, ()).render().decode()
    assert text.endswith("}\n")
    expected = json.dumps({"k": value, "l": [value, [value]]}, indent=2, ensure_ascii=False)
    assert text == expected + "\n"
