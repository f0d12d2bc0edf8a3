"""What was meant by a mistyped name."""

from __future__ import annotations

import difflib
from typing import Any

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


def test_among_many_names_one_wrong_letter_is_found_and_few_are_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = [f"{kind}-{number:05}" for kind in ("runner", "builder", "nuc") for number in range(4000)]
    compared: list[int] = []
    find = difflib.get_close_matches

    def note(name: str, some: list[str], **options: Any) -> list[str]:
        compared.append(len(some))
        return find(name, some, **options)

    monkeypatch.setattr(difflib, "get_close_matches", note)
    for typed, meant in (("ruNner-00017", "runner-00017"), ("rnner-00017", "runner-00017"), ("xxx", None)):
        assert find_similar(typed, names) == ([] if meant is None else [meant])
    assert max(compared) <= 200
