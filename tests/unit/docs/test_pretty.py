"""Data as ``lib.generators.toPretty`` shows it; tests/eval holds it against nixpkgs itself."""

from __future__ import annotations

from typing import Any

import pytest

from ectools.docs.pretty import show_pretty


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (3, "3"),
        (0.5, "0.5"),
        ("", '""'),
        ('a"b\\c${d}$e', '"a\\"b\\\\c\\${d}$e"'),
        ("a\nb", "''\n  a\n  b''"),
        ("a ${b} ''\n", "''\n  a ''${b} '''\n''"),
        ("''${\n", "''\n  '''''${\n''"),
        ([], "[ ]"),
        ({}, "{ }"),
        ([1, ["a\nb"]], "[\n  1\n  [\n    ''\n      a\n      b''\n  ]\n]"),
        ({"b": 1, "a b": {}, "$": 2}, '{\n  "\\$" = 2;\n  "a b" = { };\n  b = 1;\n}'),
        ({"type": "derivation", "name": "x"}, "<derivation x>"),
        ({"type": "derivation"}, "<derivation ???>"),
    ],
)
def test_a_value(value: Any, text: str) -> None:
    assert show_pretty(value) == text
