"""What systemd reads: quotes, specifiers, and the lines of a unit."""

from __future__ import annotations

from ectools.service.unit_text import (
    escape_specifiers,
    leave_out_newer,
    quote_item,
    quote_rule_path,
    quote_word,
    render_unit,
)

ODD = """/a %n"b'c\\d é"""


def test_each_kind_of_text_is_escaped_as_its_place_wants() -> None:
    assert escape_specifiers(ODD) == """/a %%n"b'c\\d é"""
    assert quote_item(ODD) == """"/a %%n\\"b'c\\\\d é\""""
    assert quote_word("/usr/bin/ectools") == "/usr/bin/ectools"
    assert quote_word("/opt/a b/$x") == '"/opt/a b/$$x"'
    assert quote_rule_path(ODD) == """'/a %%n"b\\'c\\\\d é'"""
    assert quote_rule_path("/a*[b]?\\") == "'/a*[b]?\\\\'"
    assert quote_rule_path("/a*[b]?\\", is_glob=True) == "'/a\\\\*\\\\[b]\\\\?\\\\\\\\'"


def test_sections_and_settings_have_an_order_and_lists_a_line_each() -> None:
    text = render_unit(
        {
            "Install": {"WantedBy": ["a.target", "b.target"]},
            "Service": {"User": "u", "Filter": ["x", "y"], "Yes": True, "No": False, "N": 1, "Empty": []},
            "Unit": {"After": [], "Before": ["a", "b"]},
        }
    )
    assert text.split("\n\n") == [
        "[Unit]\nBefore=a b",
        "[Service]\nFilter=x\nFilter=y\nN=1\nNo=false\nUser=u\nYes=true",
        "[Install]\nWantedBy=a.target b.target\n",
    ]


def test_what_an_old_systemd_does_not_know_is_left_out() -> None:
    sections = {"Service": {"RestartSteps": 6, "Restart": "always"}}
    assert leave_out_newer(sections, 252) == {"Service": {"Restart": "always"}}  # type: ignore[arg-type]
    for version in (254, None):
        assert leave_out_newer(sections, version) == sections  # type: ignore[arg-type]
