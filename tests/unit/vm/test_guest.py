"""What is kept and logged of a guest that says and does as much as it can."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import pytest
from support.qmp_server import guest_without_qemu

from ectools.ipxe.urls import FAILURE_MARK
from ectools.log_limit import LogRate
from ectools.outputs import LINE_BYTES, TAIL_LINES, clean_line
from ectools.vm.guest import GuestLog
from ectools.vm.kvm import RESETS_IN_A_ROW
from ectools.vm.qmp import QmpError


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="ectools")
    return caplog


@pytest.mark.parametrize("output", ["on_console", "on_stderr"])
def test_a_flood_is_left_out_of_the_log_and_its_last_lines_are_kept(
    output: str, log: pytest.LogCaptureFixture
) -> None:
    burst = LogRate().burst_lines

    async def flood() -> GuestLog:
        record = GuestLog()
        for number in range(2 * burst):
            getattr(record, output)(f"line {number}")
        record.close()
        return record

    record = asyncio.run(flood())
    assert burst <= len(log.records) < 1.1 * burst
    assert record.output_tail().endswith(f"line {2 * burst - 1}")
    assert record.output_tail().count("\n") == TAIL_LINES
    *_, last = log.records
    assert last.getMessage() == "lines left out of the log: more was written than it takes"


def test_a_boot_that_says_all_it_can_is_logged_whole(log: pytest.LogCaptureFixture) -> None:
    """systemd.log_level=debug of a NixOS guest: 5,000 lines of 150 characters."""

    async def boot() -> None:
        record = GuestLog()
        for number in range(5000):
            record.on_console(f"{number:150}")
        record.close()

    asyncio.run(boot())
    assert len(log.records) == 5000


def test_a_guest_that_calls_its_boot_a_failure_for_ever_is_heard_only_so_often(
    log: pytest.LogCaptureFixture,
) -> None:
    async def flood() -> None:
        record = GuestLog()
        for _ in range(1000):
            record.on_console(FAILURE_MARK)
        record.close()

    asyncio.run(flood())
    errors = [record for record in log.records if record.levelno == logging.ERROR]
    assert 50 <= len(errors) <= 110


def test_events_without_end_take_no_memory_and_no_more_log(log: pytest.LogCaptureFixture) -> None:
    async def flood() -> None:
        async with guest_without_qemu() as (guest, qemu):
            for number in range(2000):
                qemu.send_event("RESET")
                # A field named like a parameter of the log's, and no object at all.
                qemu.send_event("BLOCK_IO_ERROR", {"event": "x", "device": number})
            await guest.status()
            assert len(guest.resets) == RESETS_IN_A_ROW
            history = guest.qmp._client.events.history
            assert len(history) == 0
            assert guest.qmp._client.events.empty()

    asyncio.run(flood())
    assert len([record for record in log.records if "disk failed" in record.getMessage()]) <= 110


def test_a_fault_in_handling_an_event_does_not_end_the_connection(
    log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with guest_without_qemu() as (guest, qemu):

            def fail(*_: object) -> None:
                raise ZeroDivisionError

            monkeypatch.setattr(guest.record, "report", fail)
            qemu.send_event("GUEST_PANICKED", {"action": "pause"})
            assert await guest.status() == "running"
            qemu.send_event("STOP")
            await asyncio.wait_for(guest.state_changed.wait(), 30)

    asyncio.run(scenario())
    assert [record.getMessage() for record in log.records] == ["a fault of this program; it goes on"]


def test_answers_of_another_shape_are_no_progress_and_no_traceback() -> None:
    async def scenario() -> None:
        async with guest_without_qemu() as (guest, qemu):
            qemu.answers = {"human-monitor-command": {"not": "text"}, "query-blockstats": 7}
            boot = await guest.look()
            assert (boot.status, boot.progress) == ("running", None)
            qemu.garbled = 1
            with pytest.raises(QmpError, match=r"query-status: \{\} has no status"):
                await guest.status()

    asyncio.run(scenario())


def test_what_the_log_takes_is_counted_as_it_is_written(log: pytest.LogCaptureFixture) -> None:
    """A byte that is no text becomes three, so 174 of these lines are the burst of 1 MiB."""

    async def flood() -> None:
        with contextlib.closing(GuestLog()) as record:
            for _ in range(1000):
                record.on_console(clean_line(b"\xff" * LINE_BYTES))

    asyncio.run(flood())
    taken = [record for record in log.records if record.getMessage() == "console"]
    assert 174 <= len(taken) < 300
