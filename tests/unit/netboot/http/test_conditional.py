"""Ranges and conditions against RFC 9110, without a server."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ectools.netboot.http.conditional import Selection, Status, Validators, parse_range, select

SIZE = 1000
DATE = 1_700_000_000
FILE = Validators(size=SIZE, etag='"tag"', modified=DATE)


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("bytes=0-0", range(1)),
        ("bytes=0-499", range(500)),
        ("bytes=500-", range(500, 1000)),
        ("bytes=999-5000", range(999, 1000)),
        ("bytes=-1", range(999, 1000)),
        ("bytes=-5000", range(1000)),
        ("bytes=0-99999999999999999999999999999999", range(1000)),
        ("bytes=" + "0" * 5000 + "7-" + "0" * 5000 + "9", range(7, 10)),
        ("BYTES=1-2", range(1, 3)),
        ("bytes= 1-2 ,", range(1, 3)),
        ("bytes=1000-", range(1000, 1000)),
        ("bytes=-0", range(1000, 1000)),
        ("bytes=99999999999999999999-", range(1000, 1000)),
        ("bytes=1000-,2000-", range(1000, 1000)),
    ],
)
def test_ranges_that_are_served(field: str, expected: range) -> None:
    assert list(parse_range(field, SIZE) or []) == list(expected)
    assert parse_range(field, SIZE) is not None


@pytest.mark.parametrize(
    "field",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=1",
        "bytes=2-1",
        "bytes=a-",
        "bytes=1-2-3",
        "bytes=--1",
        "bytes=+1-2",
        "bytes=1_0-20",
        "bytes=\u0661-\u0662",  # digits to Python, and not to HTTP
        "bytes=1 -2",
        "bytes:1-2",
        "items=1-2",
        "bytes=0-1,5-6",
        "bytes=0-1,x",
    ],
)
def test_ranges_that_are_ignored(field: str) -> None:
    assert parse_range(field, SIZE) is None


def test_an_empty_file() -> None:
    assert parse_range("bytes=0-", 0) == range(0)
    assert parse_range("bytes=-5", 0) is None


@given(st.text(), st.integers(0, 50))
def test_any_range_selects_from_the_file_or_nothing(field: str, size: int) -> None:
    for text in (field, f"bytes={field}"):
        chosen = parse_range(text, size)
        assert chosen is None or all(0 <= position < size for position in chosen)


@given(st.integers(0, 60), st.none() | st.integers(0, 60), st.integers(0, 50))
def test_a_range_is_pythons_slice(first: int, last: int | None, size: int) -> None:
    chosen = parse_range(f"bytes={first}-{'' if last is None else last}", size)
    content = list(range(size))
    if last is not None and last < first:
        assert chosen is None
    else:
        assert list(chosen or []) == content[first : None if last is None else last + 1]


def date(offset: int) -> str:
    return formatdate(DATE + offset, usegmt=True)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, Status.WHOLE),
        # Section 13.2.2: If-Match goes before If-Unmodified-Since, If-None-Match before If-Modified-Since.
        ({"If-Match": '"tag"', "If-Unmodified-Since": date(-1)}, Status.WHOLE),
        ({"If-Match": '"x"', "If-None-Match": '"tag"'}, Status.PRECONDITION_FAILED),
        ({"If-Match": "*"}, Status.WHOLE),
        ({"If-Match": '"x", "tag"'}, Status.WHOLE),
        ({"If-Match": "tag"}, Status.PRECONDITION_FAILED),
        ({"If-Unmodified-Since": date(0)}, Status.WHOLE),
        ({"If-Unmodified-Since": date(-1)}, Status.PRECONDITION_FAILED),
        ({"If-Unmodified-Since": "soon"}, Status.WHOLE),
        ({"If-None-Match": '"x","tag"'}, Status.NOT_MODIFIED),
        ({"If-None-Match": '"x,y", W/"tag"'}, Status.NOT_MODIFIED),
        ({"If-None-Match": '"x"', "If-Modified-Since": date(0)}, Status.WHOLE),
        ({"If-Modified-Since": date(0)}, Status.NOT_MODIFIED),
        ({"If-Modified-Since": date(1)}, Status.WHOLE),
        ({"If-Modified-Since": date(-1)}, Status.WHOLE),
        ({"If-Modified-Since": "Thu, 99 Nov 2023 99:13:20 GMT"}, Status.WHOLE),
        ({"Range": "bytes=0-1", "If-Range": '"tag"'}, Status.PARTIAL),
        ({"Range": "bytes=0-1", "If-Range": 'W/"tag"'}, Status.WHOLE),
        ({"Range": "bytes=0-1", "If-Range": date(0)}, Status.PARTIAL),
        ({"Range": "bytes=0-1", "If-Range": date(9)}, Status.WHOLE),
        ({"Range": "bytes=1000-", "If-Range": '"x"'}, Status.WHOLE),
        ({"Range": "bytes=1000-"}, Status.UNSATISFIABLE),
        ({"Range": "bytes=0-1", "If-None-Match": '"tag"'}, Status.NOT_MODIFIED),
    ],
)
def test_the_order_of_conditions(headers: dict[str, str], status: Status) -> None:
    assert select("GET", headers, FILE).status is status


def test_a_file_without_a_date_matches_no_date() -> None:
    file = Validators(size=SIZE, etag='"tag"', modified=None)
    assert file.last_modified is None
    for headers in ({"If-Modified-Since": date(0)}, {"Range": "bytes=0-1", "If-Range": date(0)}):
        assert select("GET", headers, file).status is Status.WHOLE


def test_head_ignores_ranges() -> None:
    whole = Selection(status=Status.WHOLE, start=0, count=SIZE)
    assert select("HEAD", {"Range": "bytes=0-1"}, FILE) == whole


@pytest.mark.parametrize(
    ("method", "headers", "expected"),
    [
        ("GET", {}, Selection(status=Status.WHOLE, start=0, count=SIZE)),
        ("HEAD", {}, Selection(status=Status.WHOLE, start=0, count=SIZE)),
        ("GET", {"Range": "bytes=2-4"}, Selection(status=Status.PARTIAL, start=2, count=3)),
        ("GET", {"Range": "bytes=-4"}, Selection(status=Status.PARTIAL, start=996, count=4)),
        ("GET", {"Range": "bytes=0-"}, Selection(status=Status.PARTIAL, start=0, count=SIZE)),
        ("GET", {"Range": "bytes=1000-"}, Selection(status=Status.UNSATISFIABLE, start=0, count=0)),
        ("GET", {"If-None-Match": "*"}, Selection(status=Status.NOT_MODIFIED, start=0, count=0)),
        ("GET", {"If-Match": '"x"'}, Selection(status=Status.PRECONDITION_FAILED, start=0, count=0)),
    ],
)
def test_the_bytes_of_an_answer(method: str, headers: dict[str, str], expected: Selection) -> None:
    assert select(method, headers, FILE) == expected


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-Match": " * "}, Status.WHOLE),
        ({"If-Match": ""}, Status.PRECONDITION_FAILED),
        # The strong comparison: a weak tag matches nothing (section 8.8.3.2).
        ({"If-Match": 'W/"tag"'}, Status.PRECONDITION_FAILED),
        ({"If-None-Match": " * "}, Status.NOT_MODIFIED),
        ({"If-None-Match": ""}, Status.WHOLE),
        ({"If-None-Match": "tag"}, Status.WHOLE),
        ({"If-Unmodified-Since": date(1)}, Status.WHOLE),
        ({"Range": "bytes=0-1", "If-Range": ' "tag" '}, Status.PARTIAL),
        ({"Range": "bytes=0-1", "If-Range": '"tagg"'}, Status.WHOLE),
        ({"Range": "bytes=0-1", "If-Range": date(-9)}, Status.WHOLE),
        ({"Range": "bytes=0-1", "If-Range": "soon"}, Status.WHOLE),
        ({"Range": "bytes=0-1", "If-Range": "tag"}, Status.WHOLE),
    ],
)
def test_more_conditions(headers: dict[str, str], status: Status) -> None:
    assert select("GET", headers, FILE).status is status


@pytest.mark.parametrize("field", ["If-Modified-Since", "If-Unmodified-Since", "If-Range"])
@pytest.mark.parametrize(
    "text", ["", "soon", "Thu, 99 Nov 2023 99:13:20 GMT", "1 Jan 99999 00:00:00 GMT", ","]
)
def test_what_is_no_date_is_ignored(field: str, text: str) -> None:
    assert select("GET", {field: text}, FILE).status is Status.WHOLE


def test_a_file_without_a_date_has_changed_since_no_date() -> None:
    file = Validators(size=SIZE, etag='"tag"', modified=None)
    assert select("GET", {"If-Unmodified-Since": date(0)}, file).status is Status.WHOLE
    # Nor does a missing date of the client equal its missing one.
    assert select("GET", {"If-Modified-Since": "soon"}, file).status is Status.WHOLE
    assert select("GET", {"Range": "bytes=0-1", "If-Range": "soon"}, file).status is Status.WHOLE


def test_a_date_is_written_as_http_wants_it() -> None:
    assert FILE.last_modified == "Tue, 14 Nov 2023 22:13:20 GMT"


@pytest.mark.parametrize(
    ("field", "size", "expected"),
    [
        ("bytes=5-5", SIZE, range(5, 6)),
        ("bytes=0-999", SIZE, range(1000)),
        ("bytes=0-1000", SIZE, range(1000)),
        ("bytes=-1000", SIZE, range(1000)),
        ("bytes=-999", SIZE, range(1, 1000)),
        ("bytes=-1001", SIZE, range(1000)),
        ("bytes=,,1-2", SIZE, range(1, 3)),
        ("bytes=\t1-2\t", SIZE, range(1, 3)),
        (" bytes =1-2", SIZE, range(1, 3)),
        ("bytes=-0", 0, range(0)),
        ("bytes=-1", 0, None),
        ("bytes=-0,-0", SIZE, range(1000, 1000)),
        ("bytes=0-0,-0", SIZE, None),
        ("bytes=-0,0-0", SIZE, None),
        # Numbers that no file reaches, of any length.
        (f"bytes={10**17}-", 10**17 + 5, range(10**17, 10**17 + 5)),
        (f"bytes={10**18 - 1}-", 10**18, range(10**18 - 1, 10**18)),
        (f"bytes=0-{10**18}", SIZE, range(1000)),
        (f"bytes={10**18}-{10**18 - 1}", SIZE, None),
    ],
)
def test_ranges_at_their_limits(field: str, size: int, expected: range | None) -> None:
    found = parse_range(field, size)
    assert found == expected
    if expected is not None and found is not None and not expected:
        assert found.start == found.stop
