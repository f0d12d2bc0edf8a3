"""``reference.json``: each key of an option, whether or not there is something to say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from support.option_docs import make_option, make_reference

from ectools.docs.constraints import Constraint
from ectools.docs.data import DATA_FILE, DATA_VERSION, write_pages
from ectools.docs.model import CodeExample, Declaration

if TYPE_CHECKING:
    from ectools.docs.model import OptionDoc


def write(option: OptionDoc) -> dict[str, Any]:
    ((name, text),) = write_pages(make_reference(option)).items()
    assert name == DATA_FILE
    return dict(json.loads(text)["modules"][0]["options"][0])


def test_an_option_of_which_nothing_is_known() -> None:
    assert write(make_option("a.<name>.b")) == {
        "name": "a.<name>.b",
        "path": ["a", "<name>", "b"],
        "anchor": "opt-a._name_.b",
        "description": "",
        "type": "string",
        "constraints": [],
        "default": None,
        "example": None,
        "declarations": [],
        "relatedPackages": "",
        "required": False,
        "readOnly": False,
        "internal": False,
        "formerly": [],
    }


def test_values_are_json_and_no_text_for_people() -> None:
    option = make_option(
        "a.b",
        constraints=(Constraint("one of", ("x", None, 2)), Constraint("minimum", (1,), "each item")),
        default=CodeExample("pkgs.demo"),
        example=CodeExample("what *you* like", words=True),
        declarations=(Declaration("a.nix", 3, "https://example.org/a.nix#L3"), Declaration("/b.nix", None)),
        related_packages="- `demo`",
        required=True,
        read_only=True,
        internal=True,
        formerly=("a.old", "a.older"),
    )
    written = write(option)
    assert written["constraints"] == [
        {"kind": "one of", "of": "", "values": ["x", None, 2]},
        {"kind": "minimum", "of": "each item", "values": [1]},
    ]
    assert written["default"] == {"kind": "nix", "text": "pkgs.demo"}
    assert written["example"] == {"kind": "markdown", "text": "what *you* like"}
    assert written["declarations"] == [
        {"file": "a.nix", "line": 3, "url": "https://example.org/a.nix#L3"},
        {"file": "/b.nix", "line": None, "url": None},
    ]
    assert written["relatedPackages"] == "- `demo`"
    assert (written["required"], written["readOnly"], written["internal"]) == (True, True, True)
    assert written["formerly"] == ["a.old", "a.older"]


def test_the_file_around_the_options() -> None:
    reference = make_reference(make_option("a.b", description="é"), redirects={"a.old": "a.b"})
    text = write_pages(reference)[DATA_FILE]
    document = json.loads(text)
    assert (document["version"], document["redirects"]) == (DATA_VERSION, {"a.old": "a.b"})
    assert [(each["name"], each["prefix"]) for each in document["modules"]] == [("demo", "a")]
    assert text.endswith("}\n")
    assert '"é"' in text
