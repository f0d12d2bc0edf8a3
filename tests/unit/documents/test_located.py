"""Options that were found wrong later, by their places in the file."""

from __future__ import annotations

from ectools.documents.json_source import parse_json_source
from ectools.documents.located import locate_problems
from ectools.errors import Problem

TEXT = '{"a":\n {"list": [1,\n  2], "b c": 3}}'


def place_of(option: str, *, start: str = "") -> tuple[int | None, int | None]:
    (found,) = locate_problems(
        [Problem(option=option, message="m")], parse_json_source(TEXT), file="f", start=start
    )
    assert (found.file, found.option, found.message) == ("f", option, "m")
    return found.line, found.column


def test_a_value_has_its_own_place_and_what_is_missing_the_nearest_ones() -> None:
    assert place_of("a.list[1]") == (3, 3)
    assert place_of('a."b c"') == (3, 14)
    assert place_of("a.list[7]") == (2, 3)
    assert place_of("a.new.deep") == (1, 2)
    assert place_of("b") == (1, 1)


def test_the_whole_file_may_be_below_a_path() -> None:
    assert place_of("x.y.a.list", start="x.y") == (2, 11)
    assert place_of("x.y.b", start="x.y") == (1, 1)


def test_what_has_a_place_or_none_in_the_file_is_left_as_it_is() -> None:
    mapped = parse_json_source(TEXT)
    given = Problem(option="a.list", message="m")
    elsewhere = Problem(option="a", message="m", file="other", line=7)
    assert locate_problems([given, elsewhere], mapped, file="f", elsewhere={"a.list"}) == [given, elsewhere]
