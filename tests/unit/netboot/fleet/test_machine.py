"""What machines send of themselves, and what of it tells one from another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ectools.netboot.fleet.machine import (
    Machine,
    list_keys,
    normalize_mac,
    normalize_text,
    normalize_uuid,
    parse_machine,
)


@pytest.mark.parametrize(
    ("text", "mac"),
    [
        ("02:00:00:12:34:56", "02:00:00:12:34:56"),
        ("02-00-00-AB-CD-EF", "02:00:00:ab:cd:ef"),
        (" 52:54:00:12:34:56 ", "52:54:00:12:34:56"),
        ("", None),
        ("02:00:00:12:34", None),
        ("00:00:00:00:00:00", None),
        ("ff:ff:ff:ff:ff:ff", None),
        ("01:00:5e:00:00:01", None),  # a group's
        ("02:00:00:12:34:5g", None),
        ("٠2:00:00:12:34:56", None),  # noqa: RUF001 - a digit, and not one of ASCII
    ],
)
def test_hardware_addresses(text: str, mac: str | None) -> None:
    assert normalize_mac(text) == mac


@pytest.mark.parametrize(
    ("text", "uuid"),
    [
        ("6F1C2D3E-0000-4000-8000-020000123456", "6f1c2d3e-0000-4000-8000-020000123456"),
        ("00000000-0000-0000-0000-000000000000", None),
        ("ffffffff-ffff-ffff-ffff-ffffffffffff", None),
        ("6f1c2d3e", None),
    ],
)
def test_uuids(text: str, uuid: str | None) -> None:
    assert normalize_uuid(text) == uuid


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "   ",
            "0",
            "000000",
            "None",
            "To Be Filled By O.E.M.",
            "Default string",
            "..........",
            "FFFFFFFF",
        ),
        *("Not Specified", "System Serial Number", "XXXXXXXX", "a" * 256, "caf\xe9", "a\tb"),
    ],
)
def test_what_a_maker_left_unset_tells_no_machine_from_others(text: str) -> None:
    assert normalize_text(text) is None


def test_a_serial_number_is_as_it_is_printed() -> None:
    assert normalize_text(" GEBN1234567A ") == "GEBN1234567A"
    assert normalize_text("gebn1234567a") == "gebn1234567a"


def test_a_query_without_any_of_it_is_of_nobody_that_was_asked() -> None:
    assert parse_machine({}) is None
    assert parse_machine({"token": "x", "arch": "x86_64"}) is None
    assert parse_machine({"mac": ""}) == Machine()


def test_what_a_machine_sends() -> None:
    query = {"mac": "02:00:00:12:34:56", "uuid": "", "serial": "Default string", "asset": "rack-3-07"}
    found = parse_machine({**query, "arch": "x86_64"})
    assert found == Machine(mac="02:00:00:12:34:56", asset="rack-3-07", build="x86_64")
    assert str(found) == "mac 02:00:00:12:34:56, asset rack-3-07"
    assert str(Machine()) == "nothing that it is known by"
    assert parse_machine({"mac": "x", "arch": "x86 64\n"}) == Machine()


@given(st.dictionaries(st.sampled_from(["mac", "uuid", "serial", "asset", "arch"]), st.text(max_size=300)))
def test_whatever_is_sent_comes_to_text_that_a_screen_can_show(query: dict[str, str]) -> None:
    machine = parse_machine(query)
    for _, value in list_keys(machine or Machine()):
        assert value.isascii()
        assert value.isprintable()
        assert 0 < len(value) <= 255
