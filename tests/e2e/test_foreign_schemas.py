"""A public collection of schemas with their positive and negative examples: no verdict but the right one.

``SCHEMASTORE`` names a checkout with SchemaStore's layout: src/schemas/json/NAME.json, and examples in
src/test/NAME and src/negative_test/NAME. What is judged otherwise is listed here with its reason.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from ectools import host
from ectools.errors import EcError, InputError
from ectools.host.combined_schema import build_combined_schema
from ectools.schemas import load_schema

pytestmark = pytest.mark.full

_LATER = "its draft does not have the keyword const, which says nothing there"
_NUL = "a text with a NUL character is none that Nix has"
_FORMAT = "the format is one of those that are notes, because no library here checks them"
KNOWN = {
    "test/es6importsorterrc": _LATER,
    "test/function": _LATER,
    "test/web-manifest/W3C Example 1.json": _LATER,
    "test/vtcfg-v19.0.0/full_config.yaml": _NUL,
    "negative_test/github-funding": _FORMAT,
}
REFUSED = {
    "leads out of this document, and nothing is fetched": "a reference to another file",
    "$dynamicRef is not supported": "a reference by the way that led to it",
    "$recursiveRef is not supported": "a reference by the way that led to it",
    "a regular expression was expected": "a regular expression that only JavaScript has",
    "named by regular expressions was expected": "a regular expression that only JavaScript has",
    "which leads to itself": "a definition that is all of itself, and has no end",
}


def find_collection() -> Path:
    given = os.environ.get("SCHEMASTORE")
    if given is None:
        pytest.skip("SCHEMASTORE names no checkout of schemas with examples")
    return Path(given) / "src"


def test_the_verdicts_on_a_public_collection() -> None:
    collection = find_collection()
    wrong: list[str] = []
    counted: Counter[str] = Counter()
    names = {path.name for kind in ("test", "negative_test") for path in (collection / kind).iterdir()}
    for name in sorted(names):
        path = collection / "schemas/json" / f"{name}.json"
        if not path.exists():
            continue
        try:
            schema = build_combined_schema([load_schema(path)])
        except InputError as error:
            reasons = [reason for words, reason in REFUSED.items() if words in error.message]
            counted.update(reasons or ["refused"])
            wrong += [] if reasons else [f"{path}: {error.message}"]
            continue
        for kind in ("test", "negative_test"):
            for file in sorted(each for each in (collection / kind / name).rglob("*") if each.is_file()):
                shown = str(file.relative_to(collection))
                try:
                    problems = host.validate_host(host.load_host(file), schema)
                except EcError:
                    # What no host description may be, whatever a schema says: a list, an ambiguous scalar.
                    counted["no host description"] += 1
                    continue
                assert all(problem.render() for problem in problems)
                if bool(problems) is (kind == "test") and not shown.startswith(tuple(KNOWN)):
                    wrong.append(shown)
                counted[kind] += 1
    assert wrong == []
    assert min(counted["test"], counted["negative_test"]) > 500, counted
