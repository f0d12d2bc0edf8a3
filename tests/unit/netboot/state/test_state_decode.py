"""What is read of a state that others write: whatever it is, it is refused or can be written and shown."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ectools.netboot.state import decode
from ectools.netboot.state.decode import check_plain, parse_object
from ectools.netboot.state.entries import is_key, read_event
from ectools.netboot.state.interface import MAX_VALUE_BYTES

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=8)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda each: st.lists(each, max_size=4) | st.dictionaries(ANY_TEXT, each, max_size=4),
    max_leaves=10,
)
EVENT: dict[str, Any] = {"kind": "k", "subject": "s", "by": None, "data": {}, "at": 1.0}
EVENT |= {"writer": "w", "number": 1}


@given(st.binary(max_size=40) | ANY_JSON.map(lambda each: json.dumps(each).encode()))
def test_whatever_comes_in_is_refused_or_can_be_written_again(payload: bytes) -> None:
    try:
        found = parse_object(payload)
    except ValueError:
        return
    text = json.dumps(found, allow_nan=False, ensure_ascii=False)
    assert json.loads(text.encode()) == found


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b'{"t":1' + b"0" * 400 + b"}", "out of bounds"),
        (b'{"t":1' + b"0" * 5000 + b"}", "no JSON"),
        (b'{"t":1e999}', "out of bounds"),
        (b'{"t":NaN}', "out of bounds"),
        (b'{"t":-Infinity}', "out of bounds"),
        (b'{"t":9007199254740993}', "out of bounds"),
        (b'{"t":"\\ud800"}', "no Unicode"),
        (b'{"\\ud800":1}', "no Unicode"),
        (b'{"t":' + b"[" * 40 + b"]" * 40 + b"}", "too deep"),
        (b"[" * 100_000, "too deep"),
        (b"[]", "no JSON object"),
        (b"", "no JSON"),
        (b"\xff\xfe\x00", "no JSON"),
        (b'{"t":"' + b"x" * (MAX_VALUE_BYTES + 300) + b'"}', "at most"),
    ],
)
def test_what_is_refused(payload: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_object(payload)


@given(ANY_JSON)
def test_a_time_that_is_read_can_be_shown(value: Any) -> None:
    try:
        found = decode.read_time({"at": value}, "at")
    except ValueError:
        return
    assert datetime.fromtimestamp(found, UTC).year <= 9999


@pytest.mark.parametrize("value", [True, "1", None, -1, 1e18, math.nan, math.inf, 10**400, [], {}])
def test_what_is_no_time(value: object) -> None:
    with pytest.raises(ValueError, match="at: no number"):
        decode.read_time({"at": value}, "at")


def test_each_reader_names_its_field() -> None:
    for read in (decode.read_text, decode.read_count, decode.read_flag, decode.read_time):
        with pytest.raises(ValueError, match=r"^n: "):
            read({"n": []}, "n")
    with pytest.raises(ValueError, match=r"^n: "):
        decode.read_period({"n": "x"}, "n", otherwise=1.0)
    with pytest.raises(ValueError, match=r"^n: "):
        decode.need_list({}, "n")
    with pytest.raises(ValueError, match=r"^n: "):
        decode.need_mapping([], "n")
    assert decode.read_period({}, "n", otherwise=1.0) == 1.0
    assert decode.read_text_if_any({"n": None}, "n") is None
    assert decode.read_time_if_any({}, "n") is None
    assert decode.read_count({"n": 3}, "n", most=3) == 3
    with pytest.raises(ValueError, match=r"^n: "):
        decode.read_count({"n": 4}, "n", most=3)
    with pytest.raises(ValueError, match=r"^n: "):
        decode.read_count({"n": True}, "n")


def test_what_is_plain_goes_through() -> None:
    check_plain({"a": [1, 1.5, None, True, "\u00e4", {"b": [[[]]]}]})


@pytest.mark.parametrize(
    "changed",
    [
        {"at": 1e18},
        {"at": "x"},
        {"kind": 3},
        {"kind": "k" * 200},
        {"subject": None},
        {"by": 1},
        {"data": []},
        {"writer": None},
        {"number": 0},
        {"number": 1.5},
        {"number": True},
    ],
)
def test_what_is_no_event(changed: dict[str, Any]) -> None:
    assert read_event({**EVENT, "later": 1}) == EVENT
    with pytest.raises(ValueError, match=next(iter(changed))):
        read_event({**EVENT, **changed})


@pytest.mark.parametrize("key", ["", "a b", "/a", "a/", "a//b", "\u00e4", "a\x1b", "a" * 600])
def test_what_is_no_key(key: str) -> None:
    assert is_key("hosts/boot-1")
    assert not is_key(key)
