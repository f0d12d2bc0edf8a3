"""Every format, of a schema that has one of everything."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from support.golden import compare
from support.sample_options import write_redirects, write_schema

from ectools import __version__
from ectools.docs import DocFormat, write_pages
from ectools.docs.links import SourceUrl
from ectools.docs.model import DocSettings
from ectools.docs.reference import Reference, build_reference

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reference:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    return build_reference(
        [str(write_schema(tmp_path))],
        settings=DocSettings(
            source_url=SourceUrl("https://example.org/blob/main/{path}#L{line}"), internal=True
        ),
        redirects=write_redirects(tmp_path),
    )


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (DocFormat.MARKDOWN, ["index.md", "demo.md"]),
        (DocFormat.HTML, ["index.html", "demo.html", "search-index.js"]),
        (DocFormat.MAN, ["ectools-options.5"]),
        (DocFormat.JSON, ["reference.json"]),
        (DocFormat.OPTIONS_JSON, ["options.json"]),
    ],
)
def test_format(reference: Reference, kind: DocFormat, names: list[str]) -> None:
    pages = write_pages(reference, kind)
    for name in names:
        compare(f"docs/{name}", pages.pop(name).decode().replace(__version__, "VERSION"))
    assert sorted(pages) == (["search.js", "style.css"] if kind is DocFormat.HTML else [])


def test_formats_share_no_file(reference: Reference) -> None:
    names = [name for kind in DocFormat for name in write_pages(reference, kind)]
    assert len(names) == len(set(names))


def test_json_has_the_same_keys_for_every_option(reference: Reference) -> None:
    document = json.loads(write_pages(reference, DocFormat.JSON)["reference.json"])
    options = document["modules"][0]["options"]
    assert len({tuple(option) for option in options}) == 1
    port = next(option for option in options if option["name"] == "services.demo.port")
    assert port["constraints"] == [
        {"kind": "minimum", "of": "", "values": [0]},
        {"kind": "maximum", "of": "", "values": [65535]},
    ]
    assert port["formerly"] == ["services.demo.bindPort", "services.demo.listenPort", "services.old.port"]
    assert document["redirects"]["services.demo.bindPort"] == "services.demo.port"
