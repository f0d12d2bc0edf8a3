"""POSIX extended regular expressions in JSON Schema's syntax."""

from __future__ import annotations

import re

import pytest

from ectools.options.patterns import PatternError, anchored, translate


@pytest.mark.parametrize(
    ("posix", "accepted", "rejected"),
    [
        ("a.c", ["abc", "a\nc"], ["ac", "abcd"]),
        ("[[:alpha:]_]+", ["Az_"], ["", "a1", "é"]),
        ("[^[:space:]]*", ["", "x"], [" ", "a\tb"]),
        ("[]a]", ["]", "a"], ["b"]),
        ("[^]a]", ["b", "\n"], ["]", "a", ""]),
        ("[a-]", ["a", "-"], ["b"]),
        (r"[\n]", ["\\", "n"], ["\n"]),
        ("[[=a=]]", ["a"], ["="]),
        ("a]}", ["a]}"], ["a"]),
        (r"\[\^\$\\\.\*\+\?\(\)\{\|", ["[^$\\.*+?(){|"], [""]),
        ("a**", ["", "aaa"], ["b"]),
        ("a*?", ["", "aaa"], ["b"]),
        ("(ab)+?", ["", "abab"], ["a"]),
        ("a{1}{2}", ["aa"], ["a", "aaa"]),
        ("a{2,}", ["aa", "aaa"], ["a"]),
        ("a{0}", [""], ["a"]),
        ("|a", ["", "a"], ["b"]),
        ("()", [""], ["a"]),
        ("a^", [], ["a", "a^"]),
        ("^a$", ["a"], ["a\n"]),
        ("a|b", ["a", "b"], ["ab", "a\n"]),
        ("[[:punct:]]+", ["!-/:@[\\]^_`{~"], ["a", " "]),
        ("\t\n", ["\t\n"], [""]),
        ("[.]x/", [".x/"], ["ax/"]),
    ],
)
def test_it_takes_what_nix_takes(posix: str, accepted: list[str], rejected: list[str]) -> None:
    pattern = re.compile(anchored(posix))
    assert [text for text in accepted if not pattern.search(text)] == []
    assert [text for text in rejected if pattern.search(text)] == []


@pytest.mark.parametrize(
    "posix",
    [
        *(
            r"\d",
            r"\/",
            r"\-",
            r"\]",
            "a\\",
            "*a",
            "+a",
            "(*a)",
            "a(*b)",
            "a(+b)",
            "a|*b",
            "a^*",
            "a$*",
            "a({1})",
            "^*",
            "a{,2}",
            "a{2,1}",
            "a{",
            "{1}",
            "a{x}",
        ),
        *("[a", "[[:foo:]]", "[[.a.]]", "[[=ab=]]", "[z-a]", "(a", "a)", "[[:alpha:", "(?:a)"),
    ],
)
def test_what_nix_rejects_is_rejected(posix: str) -> None:
    with pytest.raises(PatternError):
        translate(posix)


def test_anchoring_holds_against_a_newline_at_the_end() -> None:
    assert not re.search(anchored("a"), "a\n")
    assert not re.search(anchored("a|b"), "xb")
