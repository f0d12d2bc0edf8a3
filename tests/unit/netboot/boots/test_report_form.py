"""What a node sends of its boot: what is read of it, and what is wrong with it."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fleet_api import make_boot

from ectools.errors import InputError
from ectools.netboot.boots.encode import encode_boot
from ectools.netboot.boots.model import NodeReport, NodeStage
from ectools.netboot.boots.report import (
    MAX_FAILED_UNITS,
    MAX_JOURNAL_LENGTH,
    MAX_REPORT_BYTES,
    parse_report,
    parse_store_percent,
)
from ectools.netboot.state.entries import encode_value
from ectools.netboot.state.interface import MAX_VALUE_BYTES

# What takes the most room in the state, by what it takes in a form.
_COSTLY = st.sampled_from([b"\x80", "\N{GRINNING FACE}".encode(), b'"', b"%5C", b"%0A", b"a", b"\xc3\xa9"])


@given(
    journal=_COSTLY,
    unit=_COSTLY,
    share=st.integers(0, 8),
    units=st.integers(0, MAX_FAILED_UNITS + 1),
    text=_COSTLY,
)
def test_whatever_a_node_sends_finds_room_in_the_state(
    journal: bytes, unit: bytes, share: int, units: int, text: bytes
) -> None:
    body = b"stage=up&healthy=no&clock=1&release=" + text * 256 + b"&system=" + text * 256
    room = (MAX_REPORT_BYTES - len(body)) * share // 8
    body += b"".join(b"&failed=" + unit * (room // max(1, units) // len(unit)) for _ in range(units))
    body += b"&journal="
    body += journal * ((MAX_REPORT_BYTES - len(body)) // len(journal))
    try:
        _, report = parse_report(body)
    except InputError:
        return
    assert report is not None
    long = "x" * 1024
    boot = make_boot("nuc", report=report, why=long, machine=long, release=long, system=long, tag=long)
    assert len(encode_value("it", encode_boot(boot))) <= MAX_VALUE_BYTES


def form(*fields: tuple[str, str]) -> bytes:
    return urlencode(fields).encode()


def test_a_healthy_node() -> None:
    body = form(
        ("stage", "up"),
        ("healthy", "yes"),
        ("release", "sha256-1"),
        ("system", "/nix/store/e-nixos"),
        ("seconds.kernel", "1.25"),
        ("seconds.userspace", "30"),
        ("seconds.coffee", "3"),
        ("clock", "1800000000.5"),
        ("journal", "nobody needs it"),
        ("of a later version", "1"),
    )
    assert parse_report(body) == (
        NodeStage.UP,
        NodeReport(
            release="sha256-1",
            system="/nix/store/e-nixos",
            seconds={"kernel": 1.25, "userspace": 30.0},
            clock=1800000000.5,
        ),
    )


def test_an_unhealthy_one() -> None:
    journal = "a\n\tb\x1b[31m\u202e c http://boot:8080/report?boot=s3cret token=t0ken\n"
    stage, report = parse_report(
        form(
            ("stage", "up"),
            ("healthy", "no"),
            ("failed", "a.service"),
            ("failed", "b\x07"),
            ("journal", journal),
        )
    )
    assert stage is NodeStage.UP
    assert report is not None
    assert (report.healthy, report.failed) == (False, ("a.service", "b\ufffd"))
    assert report.journal == "a\n\tb\ufffd[31m\ufffd c http://boot:8080/report?boot=*** token=***\n"


def test_the_kernel_runs() -> None:
    assert parse_report(b"stage=running") == (NodeStage.RUNNING, None)


def test_how_much_of_its_store_it_has() -> None:
    assert parse_store_percent(b"stage=store&percent=40") == 40
    assert parse_store_percent(b"stage=store&percent=100") == 100
    assert parse_store_percent(b"stage=running&percent=40") is None
    for wrong in ("", "101", "-1", "4.5", "\u0664"):
        with pytest.raises(InputError, match="percent: is no number up to 100"):
            parse_store_percent(form(("stage", "store"), ("percent", wrong)))


def test_much_is_cut_and_not_refused() -> None:
    fields = [("stage", "up"), ("healthy", "no"), ("journal", "x" * 40_000 + "the end")]
    _, report = parse_report(form(*fields, *(("failed", "u" * 300) for _ in range(200))))
    assert report is not None
    assert len(report.journal) == MAX_JOURNAL_LENGTH
    assert report.journal.endswith("the end")
    assert len(report.failed) == MAX_FAILED_UNITS
    assert {len(each) for each in report.failed} == {256}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "is none of running, store, up"),
        (b"stage=loaded", "is none of running, store, up"),
        (b"stage=up&stage=up", "there are 2"),
        (b"stage=up", "neither yes nor no"),
        (b"stage=up&healthy=maybe", "neither yes nor no"),
        (b"stage=up&healthy=yes&clock=soon", "clock: no decimal number"),
        (b"stage=up&healthy=yes&seconds.kernel=-1", "seconds.kernel: no decimal number"),
        (b"stage=up&healthy=yes&seconds.kernel=1e400", "no decimal number"),
        (b"stage=up&healthy=yes&release=" + b"x" * 257, "release: longer"),
        (b"&".join(b"a=1" for _ in range(300)), "more than 256 fields"),
    ],
)
def test_what_is_wrong(body: bytes, why: str) -> None:
    with pytest.raises(InputError, match=why):
        parse_report(body)


@given(st.binary(max_size=400) | st.binary(max_size=300).map(lambda tail: b"stage=up&healthy=no&" + tail))
def test_whatever_comes_is_a_report_that_can_be_shown_or_refused(body: bytes) -> None:
    assert len(body) < MAX_REPORT_BYTES
    report, said = None, ""
    try:
        _, report = parse_report(body)
    except InputError as error:
        said = error.message
    assert said.isprintable()
    if report is not None:
        for text in (report.release or "", report.system or "", *report.failed):
            assert text.isprintable()
        assert report.journal.replace("\n", "").replace("\t", "").isprintable()
