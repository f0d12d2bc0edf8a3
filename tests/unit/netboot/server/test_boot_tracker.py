"""What a node has fetched, step by step, on a clock that the test moves."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from support.staged import make_release

from ectools import log
from ectools.netboot.http.responses import Delivery
from ectools.netboot.server.boot_tracker import BootTracker

if TYPE_CHECKING:
    from collections.abc import Iterator

WHOLE = Delivery(status=200, sent=10, reached_end=True)
ONE = make_release({"bzImage": b"one", "initrd": b"i", "notes": b"n"})
TWO = make_release({"bzImage": b"two", "initrd": b"i"})
NODE = "192.0.2.7"


class Nodes:
    def __init__(self) -> None:
        self.now = 100.0
        self.tracker = BootTracker(clock=lambda: self.now)
        self.stream = io.StringIO()
        log.set_up(json_lines=True, stream=self.stream)

    def lines(self) -> list[dict[str, Any]]:
        """Since the last time, without when they were written."""
        text = self.stream.getvalue()
        self.stream.seek(0)
        self.stream.truncate()
        lines = [json.loads(line) for line in text.splitlines()]
        return [{key: value for key, value in line.items() if key != "time"} for line in lines]

    def fetch(self, *names: str, seconds: float = 0.0) -> None:
        for name in names:
            self.now += seconds
            self.tracker.file(NODE, ONE, name, WHOLE)


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    yield Nodes()
    log.set_up()


def test_what_the_log_says_of_a_boot(nodes: Nodes) -> None:
    nodes.tracker.first_stage(NODE, "ec-ipxe.efi")
    assert nodes.lines() == []
    nodes.now += 1
    nodes.tracker.script(NODE, ONE, WHOLE)
    assert nodes.lines() == [
        {
            "level": "info",
            "event": "a node has fetched its boot script",
            "client": NODE,
            "release": ONE.id,
            "tag": "boot-v1",
        }
    ]
    nodes.now += 1
    nodes.tracker.file(NODE, ONE, "bzImage", Delivery(status=200, sent=10, reached_end=False))
    fields = {"client": NODE, "file": "bzImage", "release": ONE.id, "bytes": 10}
    event = "a node did not fetch a boot file to its end"
    assert nodes.lines() == [{"level": "warning", "event": event, **fields}]
    nodes.fetch("bzImage")
    assert nodes.lines() == [{"level": "info", "event": "a node has fetched a boot file", **fields}]
    nodes.fetch("initrd", "notes", seconds=0.12345)
    assert nodes.lines()[-1] == {
        "level": "info",
        "event": "a node has everything it boots from",
        "client": NODE,
        "release": ONE.id,
        "tag": "boot-v1",
        "system": "release",
        "seconds": 2.247,
    }
    assert nodes.tracker.boots == 1


def test_each_boot_begins_anew(nodes: Nodes) -> None:
    for number in (1, 2):
        nodes.now += 1000
        nodes.tracker.script(NODE, ONE, WHOLE)
        nodes.fetch("bzImage", "initrd", "notes", seconds=2)
        assert nodes.lines()[-1]["seconds"] == 6
        assert nodes.tracker.boots == number
    # A file alone is no boot.
    nodes.fetch("bzImage")
    assert nodes.tracker.boots == 2


@pytest.mark.parametrize(
    "delivery",
    [
        Delivery(status=200, sent=0, reached_end=True),
        Delivery(status=304, sent=10, reached_end=True),
        Delivery(status=404, sent=10, reached_end=True),
    ],
)
def test_what_brought_nothing_of_a_file_counts_for_nothing(nodes: Nodes, delivery: Delivery) -> None:
    nodes.tracker.file(NODE, ONE, "bzImage", delivery)
    assert nodes.lines() == []
    nodes.fetch("initrd", "notes")
    assert nodes.tracker.boots == 0


def test_a_part_that_reached_the_end_counts(nodes: Nodes) -> None:
    nodes.tracker.file(NODE, ONE, "bzImage", Delivery(status=206, sent=1, reached_end=True))
    nodes.fetch("initrd", "notes")
    assert nodes.tracker.boots == 1


def test_a_script_that_did_not_arrive_is_no_step(nodes: Nodes) -> None:
    nodes.tracker.script(NODE, ONE, Delivery(status=200, sent=3, reached_end=False))
    assert nodes.lines() == []
    nodes.now += 5
    nodes.fetch("bzImage", "initrd", "notes")
    assert nodes.lines()[-1]["seconds"] == 0


def test_a_file_that_a_node_does_not_boot_from_is_no_step(nodes: Nodes) -> None:
    nodes.fetch("release.json")
    assert nodes.lines() == []


def test_the_time_of_a_boot_begins_with_its_first_stage(nodes: Nodes) -> None:
    nodes.tracker.first_stage(NODE, "ec-ipxe.efi")
    nodes.now += 7
    nodes.tracker.first_stage(NODE, "autoexec.ipxe")
    nodes.tracker.script(NODE, ONE, WHOLE)
    nodes.fetch("bzImage", "initrd", "notes")
    assert nodes.lines()[-1]["seconds"] == 7


def test_the_same_first_file_again_is_another_boot(nodes: Nodes) -> None:
    nodes.tracker.first_stage(NODE, "ec-ipxe.efi")
    nodes.now += 100
    nodes.tracker.first_stage(NODE, "ec-ipxe.efi")
    nodes.now += 3
    nodes.tracker.first_stage(NODE, "autoexec.ipxe")
    nodes.tracker.script(NODE, ONE, WHOLE)
    nodes.fetch("bzImage", "initrd", "notes")
    assert nodes.lines()[-1]["seconds"] == 3


def test_a_first_stage_after_a_script_is_of_the_next_boot(nodes: Nodes) -> None:
    nodes.tracker.script(NODE, ONE, WHOLE)
    nodes.fetch("bzImage", "initrd")
    nodes.now += 50
    nodes.tracker.first_stage(NODE, "ec-ipxe.efi")
    nodes.now += 4
    nodes.tracker.script(NODE, ONE, WHOLE)
    nodes.fetch("notes")
    assert nodes.tracker.boots == 0
    nodes.fetch("bzImage", "initrd", seconds=1)
    assert nodes.lines()[-1]["seconds"] == 6


def test_a_first_stage_that_is_told_late_ends_no_boot(nodes: Nodes) -> None:
    """dnsmasq's log is read when there is time for it."""
    nodes.tracker.script(NODE, ONE, WHOLE)
    nodes.fetch("bzImage", "initrd", seconds=1)
    nodes.tracker.first_stage(NODE, "ec-ipxe.efi")
    nodes.tracker.first_stage(NODE, "autoexec.ipxe")
    nodes.fetch("notes")
    assert nodes.lines()[-1]["seconds"] == 2
    assert nodes.tracker.boots == 1


def test_a_second_script_is_another_boot(nodes: Nodes) -> None:
    nodes.tracker.script(NODE, ONE, WHOLE)
    nodes.fetch("bzImage", "initrd")
    nodes.now += 50
    nodes.tracker.script(NODE, ONE, WHOLE)
    nodes.fetch("notes")
    assert nodes.tracker.boots == 0
    nodes.fetch("bzImage", "initrd")
    assert nodes.lines()[-1]["seconds"] == 0


def test_files_of_another_release_count_for_that_alone(nodes: Nodes) -> None:
    nodes.fetch("bzImage", "initrd")
    nodes.tracker.file(NODE, TWO, "initrd", WHOLE)
    nodes.fetch("notes")
    assert nodes.tracker.boots == 0
    nodes.tracker.file(NODE, TWO, "bzImage", WHOLE)
    assert nodes.tracker.boots == 0
    nodes.tracker.file(NODE, TWO, "initrd", WHOLE)
    assert nodes.tracker.boots == 1


def test_the_node_that_was_seen_longest_ago_is_forgotten_first(nodes: Nodes) -> None:
    nodes.tracker.first_stage(NODE, "ec-ipxe.efi")
    nodes.tracker.first_stage("other", "ec-ipxe.efi")
    nodes.tracker.first_stage(NODE, "autoexec.ipxe")  # it is seen again
    nodes.now += 9
    for number in range(4096 - 1):
        nodes.tracker.first_stage(str(number), "ec-ipxe.efi")
    for client in (NODE, "other"):
        for name in ("bzImage", "initrd", "notes"):
            nodes.tracker.file(client, ONE, name, WHOLE)
    boots = [line for line in nodes.lines() if "everything" in line["event"]]
    assert [(line["client"], line["seconds"]) for line in boots] == [(NODE, 9), ("other", 0)]
