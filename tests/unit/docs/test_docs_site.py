"""What the pages say of themselves, of one project and of several."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ectools.docs import DocFormat, write_pages
from ectools.docs.links import SourceUrl
from ectools.docs.reference import Reference, build_reference
from ectools.docs.site import ManPage, Project, Site, load_site, parse_man_page
from ectools.errors import InputError

TEXT = """\
title = "Ours"
version = "3"
man-page = "ours(7)"
guides = ["guides/a.md"]

[[project]]
title = "One"
version = "1.0"
schemas = ["one.schema.json"]
source-url = "https://one.example/{path}#L{line}"

[[project]]
title = "Two"
schemas = ["./two.schema.json"]
"""


def write_schemas(directory: Path) -> None:
    for name in ("one", "two"):
        option = {"description": "d", "x-nix-type": "t", "x-nix-declarations": ["m.nix#L3"]}
        document = {"x-nix-path": [name], "properties": {"a": option}}
        (directory / f"{name}.schema.json").write_text(json.dumps(document))


@pytest.fixture
def reference(tmp_path: Path) -> Reference:
    write_schemas(tmp_path)
    (tmp_path / "guides").mkdir()
    (tmp_path / "guides/a.md").write_text("# A guide\n")
    (tmp_path / "site.toml").write_text(TEXT)
    return build_reference(site=load_site(tmp_path / "site.toml"))


def page(reference: Reference, kind: DocFormat, name: str) -> str:
    return write_pages(reference, kind)[name].decode()


def test_a_file_says_it_all(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(TEXT)
    assert load_site(tmp_path / "site.toml") == Site(
        title="Ours",
        version="3",
        man_page=ManPage("ours", "7"),
        guides=(tmp_path / "guides/a.md",),
        projects=(
            Project(
                title="One",
                version="1.0",
                schemas=(str(tmp_path / "one.schema.json"),),
                source_url=SourceUrl("https://one.example/{path}#L{line}"),
            ),
            Project(title="Two", schemas=(str(tmp_path / "two.schema.json"),)),
        ),
    )


def test_it_may_say_nothing(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text("")
    assert load_site(tmp_path / "site.toml") == Site()


def test_a_schema_may_be_one_of_this_project(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text('[[project]]\nschemas = ["ec-node"]\n')
    assert load_site(tmp_path / "site.toml").projects == (Project(schemas=("ec-node",)),)


def test_each_project_has_its_own_heading_and_links(reference: Reference) -> None:
    index = page(reference, DocFormat.HTML, "index.html")
    assert "<title>Ours</title>" in index
    assert "<h1>Ours</h1>\n<p>Version 3, 2 options</p>" in index
    assert index.index("<h2>One 1.0</h2>") < index.index("one.html") < index.index("<h2>Two</h2>")
    assert index.index("<h2>Two</h2>") < index.index("two.html")
    assert '<a class="home" href="index.html">Ours</a>' in index
    assert "<title>one · Ours</title>" in page(reference, DocFormat.HTML, "one.html")
    assert "https://one.example/m.nix#L3" in page(reference, DocFormat.HTML, "one.html")
    assert "https://" not in page(reference, DocFormat.HTML, "two.html")
    options = json.loads(page(reference, DocFormat.OPTIONS_JSON, "options.json"))
    assert options["one.a"]["declarations"] == [{"name": "m.nix", "url": "https://one.example/m.nix#L3"}]
    assert options["two.a"]["declarations"] == ["m.nix"]


def test_the_page_of_the_manual_is_called_as_the_site_says(reference: Reference) -> None:
    text = page(reference, DocFormat.MAN, "ours.7")
    assert text.startswith('.TH OURS 7 "1980-01-01" "Ours 3" "Options"\n')
    assert "\n.SH NAME\nours \\- options of Ours\n" in text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("title = 1", "title is no text"),
        ("guides = [1]", "guides is no list of texts"),
        ("project = 1", "project is no list of tables"),
        ("titel = 'x'", "titel: there is no such field"),
        ("[[project]]\nurl = 'x'", "project.url: there is no such field"),
        ("[[project]]\nsource-url = 'x'", "not a template for links"),
        ("man-page = 'x'", "x: not the name of a page of the manual"),
        ("[", "cannot be read as TOML"),
    ],
)
def test_what_a_file_may_not_say(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "site.toml").write_text(text)
    with pytest.raises(InputError, match="^[^\n]*" + words.replace("[", r"\[")):
        load_site(tmp_path / "site.toml")


@pytest.mark.parametrize("text", ["", "a", "a()", "a(0)", "../a(5)", "a(5)b", "a b(5)"])
def test_what_is_no_page_of_the_manual(text: str) -> None:
    with pytest.raises(InputError):
        parse_man_page(text)


def test_two_schemas_of_one_name_would_have_one_page(tmp_path: Path) -> None:
    write_schemas(tmp_path)
    name = str(tmp_path / "one.schema.json")
    with pytest.raises(InputError, match="one: two schemas of that name"):
        build_reference([name, name])
