"""Names at each of their limits, and the one fault that is told of those with several."""

from __future__ import annotations

import pytest

from ectools.archive.names import MANIFEST_NAME, _look_closer, find_name_fault, fold_name

LONG = "/".join(["n" * 255] * 4)  # 1023 bytes


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "kernel-6.1_x+y.img",
        "a/b/c",
        "...",
        ".hidden",
        "..a",
        "a..",
        "gr\u00fcn \u2603",
        "n" * 255,
        "\u00fc" * 127,
        LONG,
        "n" * 254 + "/" + LONG.removeprefix("n/")[: 1024 - 255],
        "/".join(["a"] * 16),
        f"a/{MANIFEST_NAME}",
        f"{MANIFEST_NAME}/a",
    ],
)
def test_names_that_are_taken(name: str) -> None:
    assert find_name_fault(name) is None
    assert _look_closer(name) is None


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("", "is empty"),
        ("/a", "is absolute"),
        ("/", "is absolute"),
        ("../a", "leads out of the directory"),
        ("a/..", "leads out of the directory"),
        ("a//../b", "leads out of the directory"),
        ("a//b", "has an empty segment"),
        ("a/", "has an empty segment"),
        ("./a", "has an empty segment"),
        ("a/./b", "has an empty segment"),
        (".", "has an empty segment"),
        ("a\ud800", "is not UTF-8"),
        ("a\\b", "has a control character or a backslash"),
        ("a\n", "has a control character or a backslash"),
        ("a\x7f", "has a control character or a backslash"),
        ("a\u200b", "has a control character or a backslash"),
        ("a\u2028", "has a control character or a backslash"),
        ("a\u2029", "has a control character or a backslash"),
        ("a\u202e", "has a control character or a backslash"),
        (f"{LONG}/n", "is longer than 1024 bytes"),
        ("\u00fc" * 120 + ("/" + "\u00fc" * 120) * 4, "is longer than 1024 bytes"),
        ("n" * 256, "has a segment of more than 255 bytes"),
        ("a/" + "\u00fc" * 128, "has a segment of more than 255 bytes"),
        ("/".join(["a"] * 17), "lies more than 16 directories deep"),
        (MANIFEST_NAME, "is the name of the release's own record"),
    ],
)
def test_names_that_are_not(name: str, fault: str) -> None:
    assert find_name_fault(name) == fault


def test_half_a_surrogate_pair_is_no_character() -> None:
    assert {find_name_fault(char) for char in ("\ud800", "\udbff", "\udc00", "\udfff")} == {"is not UTF-8"}
    assert find_name_fault("\ud7ff") is None
    assert find_name_fault("\ue000") is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Kernel", "kERNEL"),
        ("e\u0301", "\u00e9"),
        ("\u00c9", "e\u0301"),
        ("Stra\u00dfe", "STRASSE"),
        ("\ufb01le", "FILE"),
        ("\u212a", "k"),
    ],
)
def test_names_that_a_file_system_may_take_for_one(one: str, other: str) -> None:
    assert fold_name(one) == fold_name(other)


def test_names_that_it_does_not() -> None:
    assert len({fold_name(name) for name in ("a", "b", "a/b", "\u00e4", "a ", "\u2603")}) == 6
