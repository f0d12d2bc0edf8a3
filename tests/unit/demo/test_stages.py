"""Stages are recognised in the runner's log, once each, and only this run's guest can say that it is up."""

from __future__ import annotations

import io
import json

import pytest

from ectools.demo.draw import Drawing
from ectools.demo.stages import DemoStage, Timeline, find_remark, parse_record, recognise_stage

MARK = "EC-GUEST-UP 0123abcd"


@pytest.mark.parametrize(
    ("record", "stage"),
    [
        ({"event": "boot HTTP server is ready", "port": 8080}, DemoStage.SERVER),
        ({"event": "the guest runs", "accelerator": "tcg"}, DemoStage.QEMU),
        ({"event": "request", "method": "GET", "path": "/netboot.ipxe", "status": 200}, DemoStage.SCRIPT),
        ({"event": "request", "method": "GET", "path": "/netboot.ipxe", "status": 404}, None),
        ({"event": "request", "method": "HEAD", "path": "/kernel", "status": 200}, None),
        ({"event": "request", "method": None, "path": None, "status": 400}, None),
        ({"event": "console", "line": "[    0.000000] Linux version 6.1.0"}, DemoStage.LINUX),
        ({"event": "console", "line": f"{MARK} address=10.0.2.15"}, DemoStage.UP),
        ({"event": "console", "line": "EC-GUEST-UP 99999999"}, None),
        ({"event": "console", "line": 7}, None),
        ({}, None),
    ],
)
def test_a_record_tells_its_stage(record: dict[str, object], stage: DemoStage | None) -> None:
    assert recognise_stage(record, mark=MARK) is stage


@pytest.mark.parametrize("line", [b"qemu: oops\n", b"[1, 2]\n", b"\xff\n", b"NaN\n"])
def test_a_line_that_is_no_record_is_an_event(line: bytes) -> None:
    assert parse_record(line) == {"event": line.decode("utf-8", "replace").rstrip()}


def test_a_timeline_counts_a_stage_once_and_measures_from_the_one_before() -> None:
    timeline = Timeline()
    assert timeline.next is DemoStage.SERVER
    assert timeline.note(DemoStage.SERVER, 0.5)
    assert timeline.note(DemoStage.QEMU, 0.75)
    assert not timeline.note(DemoStage.QEMU, 9.0)
    assert timeline.reached == {DemoStage.SERVER: 0.5, DemoStage.QEMU: 0.75}
    assert timeline.duration(DemoStage.QEMU) == 0.25
    assert timeline.next is DemoStage.SCRIPT


def test_what_is_not_a_terminal_gets_plain_lines_and_no_ticks() -> None:
    stream, timeline = io.StringIO(), Timeline()
    drawing = Drawing(stream)
    drawing.tick(timeline, 0.1)
    timeline.note(DemoStage.SERVER, 1.5)
    drawing.reached(timeline, DemoStage.SERVER)
    drawing.stopped(timeline)
    first, second = stream.getvalue().splitlines()
    assert first.split() == ["✓", *DemoStage.SERVER.split(), "1.50", "s", "1.50", "s", "━━━"]
    assert second.split() == ["✗", *DemoStage.QEMU.split(), "not", "reached"]


def test_a_record_reads_back() -> None:
    assert parse_record(json.dumps({"event": "request"}).encode()) == {"event": "request"}


@pytest.mark.parametrize(
    ("record", "remark"),
    [
        ({"level": "warning", "event": "no KVM", "reason": "no /dev/kvm"}, "no KVM: no /dev/kvm"),
        ({"level": "error", "event": "the server died"}, "the server died"),
        ({"level": "warning", "event": "qemu", "line": "abort"}, None),
        ({"level": "info", "event": "request"}, None),
        ({}, None),
    ],
)
def test_warnings_are_shown_and_the_rest_is_not(record: dict[str, object], remark: str | None) -> None:
    assert find_remark(record) == remark
