from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from ectools.netboot.boot_files.scripts.checked import ScriptError
from ectools.netboot.boot_files.scripts.fetching import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    build_fetch,
    build_give_up,
    build_pause,
    build_reasons,
    join_lines,
)
from ectools.netboot.settings.load import load_netboot_settings

if TYPE_CHECKING:
    from ectools.netboot.settings.model import NetbootSettings


def settings_of(**flags: Any) -> NetbootSettings:
    given = {"hostname": "192.0.2.10", **{name.replace("__", "."): value for name, value in flags.items()}}
    return load_netboot_settings(None, flags=given, environment={})


def test_lines_of_all_blocks_end_in_a_newline() -> None:
    assert join_lines(["a", "b"], [], ["c"]) == "a\nb\nc\n"


def test_a_source_is_one_label_and_one_url_and_the_last_label_ends_the_round() -> None:
    lines = build_fetch(settings_of(mirrors=["https://cache.example.org/netboot"]), None)
    urls = [lines[lines.index(f":source_{index}") + 1] for index in range(2)]
    assert urls == ["set ec-url http://192.0.2.10:8080", "set ec-url https://cache.example.org/netboot"]
    assert lines[lines.index(":source_2") + 1] == "iseq ${ec-nics} 1 && goto rest ||"
    assert ":try_header" not in lines


def test_a_token_is_sent_in_a_header_or_in_the_query() -> None:
    lines = build_fetch(settings_of(), "t0k/en")
    header, query = (
        lines[lines.index(label) + 1 : lines.index(label) + 3] for label in (":try_header", ":try_query")
    )
    assert header[0] == "params --name ec && param --params ec --header X-Boot-Token t0k/en ||"
    assert "##params=ec " in header[1]
    assert "?token=t0k%2Fen " in query[0]


def test_a_token_that_ipxe_cannot_send_is_refused() -> None:
    with pytest.raises(ScriptError, match="cannot send"):
        build_fetch(settings_of(), "a b")


def test_a_pause_doubles_to_its_longest() -> None:
    doubled = FIRST_PAUSE
    while doubled < LONGEST_PAUSE:
        doubled *= 2
    assert doubled == LONGEST_PAUSE
    lines = build_pause("why")
    assert f"iseq ${{ec-pause}} {2 * LONGEST_PAUSE} && set ec-pause:int32 {LONGEST_PAUSE} ||" in lines


def test_no_pause_of_a_spread_is_for_ever() -> None:
    """``prompt --timeout 0`` waits for a key: what is put before the digit is never nothing, and never 0."""
    lines = build_pause("why")
    (prompt,) = (line for line in lines if line.startswith("prompt"))
    assert prompt == "prompt --timeout ${ec-spread}0 ||"
    before = lines[: lines.index(prompt)]
    assert before.index("set ec-spread:int32 0") < before.index("inc ec-spread ||")


def test_each_kind_of_error_has_one_reason() -> None:
    labels = re.findall(r"^:why_(\S+)$", join_lines(build_reasons()), re.MULTILINE)
    assert len(labels) == len(set(labels)) > 10


def test_the_first_round_is_left_to_one_nic_where_another_round_follows() -> None:
    stay = "iseq ${ec-round} 1 && iseq ${ec-nic} ${ec-first} && goto rest ||"
    assert stay in build_fetch(settings_of(ipxe__attempts=2), None)
    assert stay not in build_fetch(settings_of(ipxe__attempts=1), None)


@pytest.mark.parametrize(("end", "last"), [("shell", "shell"), ("reboot", "reboot ||")])
def test_giving_up_names_each_source_and_ends_as_set(end: str, last: str) -> None:
    lines = build_give_up(settings_of(mirrors=["https://cache.example.org"], ipxe__onFailure=end))
    for url, why in {
        "http://192.0.2.10:8080": "${ec-why-${ec-nic}-0}",
        "https://cache.example.org": "${ec-why-${ec-nic}-1}",
    }.items():
        assert f"isset {why} && echo every.channel: {url}: {why} ||" in lines
    assert lines[-2:] == [last, "exit"]
