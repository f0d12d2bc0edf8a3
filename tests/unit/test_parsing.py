"""Problems gathered, and the rules that several documents share."""

from __future__ import annotations

import pytest

from ectools.errors import Problem
from ectools.parsing import (
    BadValueError,
    Problems,
    check_boot_url,
    check_path,
    check_secret_path,
    is_text,
)


def parse_even(number: int) -> int:
    if number % 2:
        raise BadValueError("an even number")
    return number // 2


def test_what_is_rejected_is_noted_and_none_and_the_rest_goes_on() -> None:
    problems = Problems("a.b")
    assert problems.parse("c", 4, parse_even) == 2
    assert problems.parse("c", None, parse_even) is None
    assert problems.found == []
    assert problems.parse("c", 5, parse_even) is None
    assert problems.parse_each("d.e", [2, 3, 0, 5], parse_even) == (1, 0)
    assert problems.found == [
        Problem(
            option=f"a.b.{option}", message=f"not usable: {value}", value=value, expected="an even number"
        )
        for option, value in (("c", 5), ("d.e[1]", 3), ("d.e[3]", 5))
    ]


def test_a_check_leaves_the_value_as_it_is() -> None:
    problems = Problems("a")
    assert problems.check("c", 5, parse_even) == 5
    assert problems.check("c", 4, parse_even) == 4
    assert problems.check("c", None, parse_even) is None
    assert (problems.accepts("c", 4, parse_even), problems.accepts("c", 7, parse_even)) == (True, False)
    assert [problem.value for problem in problems.found] == [5, 7]


def test_what_must_not_be_shown_is_neither_in_the_message_nor_in_the_value() -> None:
    def rule(value: str) -> None:
        raise BadValueError("another", message="secret", shown=value[:1])

    problems = Problems("a")
    problems.accepts("b", "xyz", rule)
    (problem,) = problems.found
    assert problem == Problem(option="a.b", message='secret: "x"', value="x", expected="another")


def test_null_may_be_what_is_shown() -> None:
    def rule(value: str) -> None:
        raise BadValueError("another", shown=None)

    problems = Problems("a")
    problems.accepts("b", "xyz", rule)
    assert problems.found[0].message == "not usable: null"


def test_other_errors_are_faults_of_a_rule() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        Problems("a").parse("b", "x", int)


def test_the_error_counts() -> None:
    problems = Problems("a")
    problems.add("b", None, "must be set", "a value")
    assert problems.error("f.json").message == "f.json: 1 field cannot be used"
    problems.add("c", 1, "too much", "less")
    error = problems.error("f.json")
    assert error.message == "f.json: 2 fields cannot be used"
    assert error.problems == problems.found
    assert error.exit_code == 2
    assert [problem.message for problem in error.problems] == ["must be set: null", "too much: 1"]


@pytest.mark.parametrize(
    ("char", "expected"),
    [
        *(("\0", False), ("\t", False), ("\n", False), ("\x1f", False), (" ", True), ("~", True)),
        *(("\x7f", False), ("\x80", False), ("\x9f", False), ("\xa0", True), ("é", True), ("\u2028", True)),
    ],
)
def test_control_characters(char: str, expected: bool) -> None:
    assert is_text(f"a{char}b") is expected


@pytest.mark.parametrize(
    "path", ["/", "/a", "/a b/c", "/..a/b..", "/a/...", "//a", "/a/./b/", "/nix/stores/x"]
)
def test_paths_that_a_service_can_be_given(path: str) -> None:
    check_path(path)
    check_secret_path(path)


@pytest.mark.parametrize("path", ["", "a", "./a", "..", "/..", "/a/../b", "/a/..", "/a\nb", "/a\x85", "~/a"])
@pytest.mark.parametrize("rule", [check_path, check_secret_path])
def test_paths_that_it_cannot(path: str, rule: object) -> None:
    assert callable(rule)
    with pytest.raises(BadValueError) as caught:
        rule(path)
    assert caught.value.message == "not usable"
    assert caught.value.expected == "an absolute path, without .. or control characters"


def test_a_secret_is_not_in_the_store() -> None:
    check_path("/nix/store/x")
    with pytest.raises(BadValueError) as caught:
        check_secret_path("/nix/store/x")
    assert caught.value.message == "in the Nix store, which everyone can read"
    assert caught.value.expected == "a path outside of it"


@pytest.mark.parametrize("url", ["http://u:pa55@a/", "http://u:pa55\n@a/", "http://u:pa55@b@a/"])
def test_a_password_in_a_url_is_not_shown(url: str) -> None:
    with pytest.raises(BadValueError) as caught:
        check_boot_url(url, instead="x.y")
    assert caught.value.shown == "http://***@a/"
    assert ("x.y names a secret" in caught.value.expected) == ("\n" not in url)
