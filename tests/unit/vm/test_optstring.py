from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ectools.vm.optstring import escape_option, split_options_string

TEXT = st.text(alphabet="a,=b", max_size=12)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", [""]),
        ("q35,accel=kvm", ["q35", "accel=kvm"]),
        ("a,b=1,,2", ["a", "b=1,,2"]),
        ("a,,,b", ["a,,", "b"]),
        (",,,,", [",,,,"]),
    ],
)
def test_split_reads_a_doubled_comma_as_part_of_a_value(text: str, parts: list[str]) -> None:
    assert split_options_string(text) == parts


@given(TEXT)
def test_split_loses_nothing(text: str) -> None:
    assert ",".join(split_options_string(text)) == text


@given(st.lists(TEXT))
def test_escaped_values_stay_apart(values: list[str]) -> None:
    parts = (
        split_options_string(",".join(f"key={escape_option(value)}" for value in values)) if values else []
    )
    assert [part.removeprefix("key=").replace(",,", ",") for part in parts] == values
