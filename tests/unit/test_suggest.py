"""What was meant by a mistyped name."""

from __future__ import annotations

import pytest

from ectools.suggest import did_you_mean, find_similar

KNOWN = ["netboot", "vm", "vmtest", "validate", "verify-closure"]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("netbot", "netboot"),
        ("NetBoot", "netboot"),
        ("val", "validate"),
        ("vmtests", "vmtest"),
        ("verify_closure", "verify-closure"),
    ],
)
def test_the_likeliest_comes_first(typed: str, meant: str) -> None:
    assert find_similar(typed, KNOWN) == [meant]
    assert did_you_mean(typed, KNOWN) == f"did you mean {meant}?"


@pytest.mark.parametrize("typed", ["", "x", "y", "staging"])
def test_what_is_like_nothing_is_not_guessed(typed: str) -> None:
    assert find_similar(typed, KNOWN) == []
    assert did_you_mean(typed, KNOWN) is None
    assert did_you_mean(typed, KNOWN, otherwise="look") == "look"


def test_several_where_they_are_wanted() -> None:
    assert find_similar("vm", ["vmtest", "vm", "vms"], most=3) == ["vm", "vms", "vmtest"]
