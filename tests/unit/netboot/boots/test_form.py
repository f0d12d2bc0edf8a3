"""A node's form: bounded, and text that steers nobody."""

from __future__ import annotations

import pytest

from ectools.errors import InputError
from ectools.netboot.boots.form import clean_text, get_field, parse_form


def test_fields_in_their_order_and_of_some_several() -> None:
    assert parse_form(b"a=1&b=&a=%C3%A9") == {"a": ["1", "\N{LATIN SMALL LETTER E WITH ACUTE}"], "b": [""]}
    assert get_field({"a": ["1"]}, "a") == "1"
    assert get_field({}, "a") is None
    with pytest.raises(InputError, match="a: there are 2 of it"):
        get_field({"a": ["1", "2"]}, "a")
    with pytest.raises(InputError, match="more than 256 fields"):
        parse_form(b"&".join(b"a=1" for _ in range(257)))


def test_what_is_not_printable_goes() -> None:
    assert clean_text("a\x1b[2J\nb") == "a\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}b"
    assert clean_text("a\n\tb", lines=True) == "a\n\tb"
