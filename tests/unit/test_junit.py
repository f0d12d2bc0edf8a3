"""JUnit XML that any reader of XML takes."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ectools.junit import Case, Suite, write


def test_suites_and_cases() -> None:
    text = write(
        [
            Suite(
                name="one",
                cases=[
                    Case(group="g", name="passes", seconds=1.23456),
                    Case(group="g", name="fails", failure="no", output="out"),
                    Case(group="g", name="breaks", error="e", seconds=0.0),
                ],
            ),
            Suite(name="two", cases=[Case(group="h", name="skipped", skipped="why")]),
            Suite(name="none", cases=[]),
        ]
    )
    assert text.splitlines() == [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<testsuites tests="4" failures="1" errors="1" skipped="1">',
        '  <testsuite name="one" tests="3" failures="1" errors="1" skipped="0">',
        '    <testcase classname="g" name="passes" time="1.235"/>',
        '    <testcase classname="g" name="fails">',
        '      <failure message="no"/>',
        "      <system-out>out</system-out>",
        "    </testcase>",
        '    <testcase classname="g" name="breaks" time="0.000">',
        '      <error message="e"/>',
        "    </testcase>",
        "  </testsuite>",
        '  <testsuite name="two" tests="1" failures="0" errors="0" skipped="1">',
        '    <testcase classname="h" name="skipped">',
        '      <skipped message="why"/>',
        "    </testcase>",
        "  </testsuite>",
        '  <testsuite name="none" tests="0" failures="0" errors="0" skipped="0">',
        "  </testsuite>",
        "</testsuites>",
    ]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("a\tb\nc", "a\tb\nc"),
        ("\x00\x08\x0b\x0c\x1f", "\ufffd" * 5),
        ("\ud7ff\ue000\ufffd\U00010000", "\ud7ff\ue000\ufffd\U00010000"),
        ("\ud800\udfff\ufffe\uffff", "\ufffd" * 4),
        ("<&>\"'", "<&>\"'"),
        (" x ", " x "),
    ],
)
def test_what_xml_cannot_carry_is_replaced(text: str, read: str) -> None:
    document = ET.fromstring(
        write([Suite(name="s", cases=[Case(group="g", name="n", failure=text, output=f"{text}x")])])
    )
    failure = document.find(".//failure")
    assert failure is not None
    assert failure.get("message") == read
    assert document.findtext(".//system-out") == f"{read}x"


@given(st.text())
def test_any_text_makes_a_document(text: str) -> None:
    (case,) = ET.fromstring(write([Suite(name=text, cases=[Case(group=text, name=text)])])).iter("testcase")
    assert case.get("name") == case.get("classname")
