"""Which options are documented, what is refused, and what became of renamed ones."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest
from support.sample_options import REDIRECTS, make_schema, write_redirects, write_schema

from ectools.docs import DocFormat, build_pages, write_pages
from ectools.docs.changelog import write_changelog
from ectools.docs.constraints import find_constraints
from ectools.docs.model import DocSettings, UndocumentedError
from ectools.docs.reference import Reference, build_reference
from ectools.errors import InputError, ProblemsError

if TYPE_CHECKING:
    from pathlib import Path


def build(directory: Path, schema: dict[str, Any], **rest: Any) -> Reference:
    path = directory / "x.schema.json"
    path.write_text(json.dumps(schema))
    return build_reference([str(path)], **rest)


def names(reference: Reference) -> list[str]:
    return [option.name for module in reference.modules for option in module.options]


def test_hidden_options_are_left_out_and_internal_ones_on_demand(tmp_path: Path) -> None:
    shown = names(build(tmp_path, make_schema()))
    assert "services.demo.hidden" not in shown
    assert "services.demo.secret" not in shown
    every = names(build(tmp_path, make_schema(), settings=DocSettings(internal=True)))
    assert set(every) - set(shown) == {"services.demo.secret"}


def test_a_type_that_holds_itself_ends(tmp_path: Path) -> None:
    shown = names(build(tmp_path, make_schema()))
    assert [name for name in shown if name.startswith("services.demo.to.")] == [
        "services.demo.to.<name>.again",
        "services.demo.to.<name>.host",
    ]
    list_of_itself = {"$defs": {"l": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/l"}}}}
    found = list(find_constraints({"$ref": "#/$defs/l"}, list_of_itself))
    assert [(each.title, each.values) for each in found] == [("Items at least", ("1",))]


def test_every_undocumented_option_is_named(tmp_path: Path) -> None:
    schema = make_schema()
    for name in ("port", "token"):
        del schema["properties"][name]["description"]
    with pytest.raises(UndocumentedError) as refused:
        build(tmp_path, schema)
    assert refused.value.names == ("services.demo.port", "services.demo.token")
    assert refused.value.exit_code == 1
    allowed = build(tmp_path, schema, allow_undocumented=True)
    for kind in (DocFormat.HTML, DocFormat.MAN, DocFormat.MARKDOWN):
        assert any(b"No description." in page for page in write_pages(allowed, kind).values())


def test_redirects_are_followed_to_their_end(tmp_path: Path) -> None:
    reference = build(tmp_path, make_schema(), redirects=write_redirects(tmp_path))
    assert set(reference.redirects) == set(REDIRECTS)
    assert set(reference.redirects.values()) == {"services.demo.port"}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"services.demo.old": "services.demo.gone"}, "leads to services.demo.gone, which is no option"),
        ({"services.demo.enable": "services.demo.port"}, "is an option, and cannot be the former name"),
        ({"a": "b", "b": "a"}, "is no option of these"),
        ({"a": "a"}, "is no option of these"),
        ({"a": 1}, "not an object of former option names"),
        (["a"], "not an object of former option names"),
    ],
)
def test_redirects_that_lead_nowhere(tmp_path: Path, table: object, message: str) -> None:
    with pytest.raises(InputError) as refused:
        build(tmp_path, make_schema(), redirects=write_redirects(tmp_path, table))
    assert message in refused.value.render()


def test_all_bad_redirects_are_named(tmp_path: Path) -> None:
    table = {"a": "x", "b": "y"}
    with pytest.raises(ProblemsError) as refused:
        build(tmp_path, make_schema(), redirects=write_redirects(tmp_path, table))
    assert [problem.option for problem in refused.value.problems] == ["a", "b"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"properties": []}, "/properties is not of the right kind"),
        ({"properties": {"a": 1}}, "/properties/a is no schema"),
        ({"properties": {"a": {"x-nix-type": 1}}}, "/properties/a/x-nix-type is not of the right kind"),
        ({"properties": {"a": {"$ref": "#/$defs/none"}}}, "leads nowhere"),
        ({"properties": {"a": {"$ref": "http://a.org"}}}, "leads nowhere"),
        ({"properties": {"a": {"anyOf": [1]}}}, "/properties/a/anyOf/0 is no schema"),
        ({"properties": {"a": {"x-nix-declarations": [1]}}}, "holds what is no string"),
        ({"x-nix-path": [1]}, "holds what is no string"),
    ],
)
def test_schemas_of_another_shape(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as refused:
        build(tmp_path, {**make_schema(), **change})
    assert message in refused.value.render()


def test_a_schema_without_a_path_has_pages_by_name(tmp_path: Path) -> None:
    """As all of NixOS: the first part of a name, and where that were long the first two."""
    option = make_schema()["properties"]["port"]

    def group(**inner: Any) -> dict[str, Any]:
        return {"type": "object", "properties": inner}

    many = {f"s{number}": group(enable=option, port=option) for number in range(300)}
    schema = {"x-nix-path": [], **group(boot=group(a=option), services=group(lone=option, **many))}
    reference = build(
        tmp_path, schema, redirects=write_redirects(tmp_path, {"services.s1.old": "boot.a", "x": "boot.a"})
    )
    pages = write_pages(reference, DocFormat.HTML)
    assert {"boot.html", "services.html", "services.s0.html", "services.s299.html"} <= set(pages)
    assert b'id="opt-services.lone"' in pages["services.html"]
    # The page where a renamed option stood says where it is; the first page where there is no such page.
    moved = b'<code>services.s1.old</code> is now <a href="boot.html#opt-boot.a">'
    assert b'<li id="opt-services.s1.old">' + moved in pages["services.s1.html"]
    assert b'<li id="opt-x">' in pages["index.html"]


def test_pages_whose_names_differ_in_case_only(tmp_path: Path) -> None:
    option = make_schema()["properties"]["port"]
    properties = {
        name: {"type": "object", "properties": {"x": option}} for name in ("a", "A", "index", "../e")
    }
    pages = write_pages(build(tmp_path, {"x-nix-path": [], "properties": properties}), DocFormat.HTML)
    assert {"a-2.html", "A.html", "index-2.html", ".._e.html"} <= set(pages)


def test_the_pages_of_this_project_are_made_by_default() -> None:
    pages = build_pages()
    assert "index.md" in pages
    assert len(pages) > 1


def test_changelog(tmp_path: Path) -> None:
    old, new = make_schema(), make_schema()
    new["properties"]["listen"] = {**new["properties"].pop("port"), "description": "Where it listens now."}
    new["properties"]["mode"]["enum"] = ["a"]
    new["properties"]["extra"] = copy.deepcopy(old["properties"]["ratio"])
    new["properties"]["tags"]["description"] = "Other *words*."
    new["properties"]["user"]["x-nix-declarations"] = ["elsewhere.nix#L1"]
    before, after = tmp_path / "old.json", tmp_path / "new.json"
    before.write_text(json.dumps(old))
    after.write_text(json.dumps(new))
    redirects = write_redirects(tmp_path, {"services.demo.port": "services.demo.listen"})
    text = write_changelog(before, after, redirects=redirects)
    assert text.split("\n") == [
        "### Breaking",
        "",
        "- `services.demo.mode`: values that were valid are not any more",
        "- `services.demo.port`: it is `services.demo.listen` now",
        "",
        "### Compatible",
        "",
        "- `services.demo.extra`: it is new",
        "",
        "### Documentation",
        "",
        "- `services.demo.tags`: the description differs",
        "",
    ]
    assert write_changelog(before, before) == "No option differs.\n"


def test_own_schema_is_found_by_its_file(tmp_path: Path) -> None:
    assert names(build_reference([str(write_schema(tmp_path))]))
