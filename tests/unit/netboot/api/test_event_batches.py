"""Events over a real connection: who may read them, what comes together, and what was missed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from support.api_tcp import get, talk, tcp
from support.fleet_api import Api, make_boot
from support.scenarios import run

from ectools.netboot.api import event_rows, events

if TYPE_CHECKING:
    import pytest


def test_readers_of_events_are_bounded_and_one_that_has_gone_makes_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(events, "MAX_READERS", 1)

    async def scenario() -> None:
        async with tcp(Api()) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(get("/api/v1/events"))
            await reader.readuntil(b"retry: ")
            refused = await talk(port, get("/api/v1/events"))
            assert refused.startswith(b"HTTP/1.1 503 ")
            assert b"Retry-After: 10\r\n" in refused
            writer.close()  # no byte is sent to it that would fail
            while True:
                again, other = await asyncio.open_connection("127.0.0.1", port)
                other.write(get("/api/v1/events"))
                status = await again.readline()
                if status.startswith(b"HTTP/1.1 200 "):
                    break
                other.close()
            other.close()

    run(scenario)


def test_an_address_that_reads_all_events_ends_one_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(events, "MAX_READERS", 3)

    async def read(port: int, ip: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(ip, 0))
        writer.write(get("/api/v1/events"))
        return reader, writer

    async def scenario() -> None:
        async with tcp(Api()) as port:
            many = [await read(port, "127.0.0.2") for _ in range(3)]
            for reader, _ in many:
                await reader.readuntil(b"retry: ")
            reader, writer = await read(port, "127.0.0.1")
            await reader.readuntil(b"retry: ")
            await many[-1][0].read()  # to its end
            refused, other = await read(port, "127.0.0.2")
            assert (await refused.readline()).startswith(b"HTTP/1.1 503 ")
            for each in (writer, other, *(each for _, each in many)):
                each.close()

    run(scenario)


def test_events_of_a_reader_that_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.01)

    async def scenario() -> None:
        api = Api()
        async with tcp(api) as port:
            for seen, expected in (("other-7", b"event: reset\nid: "), (api.hub.last_id, b":\n\n")):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(get("/api/v1/events", f"Last-Event-ID: {seen}"))
                await reader.readuntil(b"retry: ")
                await reader.readuntil(expected)
                writer.close()
            # What is gone is in no row.
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(get("/api/v1/events"))
            await reader.readuntil(b"retry: ")
            api.hub.publish_rollout("runners")
            told = await reader.readuntil(b"}\n\n")
            assert b"event: rollout\n" in told
            assert told.endswith(b'data: {"group": "runners"}\n\n')
            api.hub.publish("nobody")
            await reader.readuntil(b"event: reset\n")
            writer.close()

    run(scenario)


def test_a_reader_that_is_far_behind_looks_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MAX_PENDING", 2)

    async def scenario() -> None:
        reader = events.EventReader()
        for subject in ("a", "b", "a"):
            reader.add(subject)
        for group in ("x", "y", "x"):
            reader.add_rollout(group)
        assert reader.take() == (["a", "b"], ["x", "y"], False)
        for subject in ("a", "b", "c", "d"):
            reader.add(subject)
        assert reader.take() == ([], [], True)
        for group in ("x", "y", "z"):
            reader.add_rollout(group)
        assert reader.take() == ([], ["x", "y"], True)
        assert reader.take() == ([], [], False)

    run(scenario)


def test_what_comes_together_is_made_once_for_all_and_has_its_id_at_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[str] = []
    describe = event_rows.describe_row

    def count(view: Any, subject: str, releases: Any) -> dict[str, Any]:
        made.append(subject)
        return describe(view, subject, releases)

    monkeypatch.setattr(event_rows, "describe_row", count)

    async def scenario() -> None:
        api = Api()
        async with tcp(api) as port:
            readers = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]
            for reader, writer in readers:
                writer.write(get("/api/v1/events"))
                await reader.readuntil(b"retry: ")
                await reader.readuntil(b"\n\n")
            for subject in ("nuc-07", "nuc-08"):
                api.hub.publish(subject)
            for reader, _ in readers:
                told = [(await reader.readuntil(b"\n\n")).decode() for _ in range(2)]
                assert all("event: boot\n" in each for each in told)
                assert ["\nid: " in each for each in told] == [False, True]
                assert f"\nid: {api.hub.last_id}\n" in told[1]
            assert made == ["nuc-07", "nuc-08"]
            # A row of before is given to nobody: not of a boot, an order or a rollout.
            for change in (
                lambda: api.hub.publish("nuc-07"),
                lambda: api.hub.publish_rollout("runners"),
                api.rebase,
            ):
                made.clear()
                change()
                api.hub.rows.render("nuc-07", api.releases.releases)
                assert made == ["nuc-07"]
            for _, writer in readers:
                writer.close()

    run(scenario)


def test_an_event_that_happens_while_others_are_written_is_not_in_their_id() -> None:
    async def scenario() -> None:
        api = Api()
        releases = api.releases.releases

        async def list_later(*, fresh: bool = False) -> Any:
            api.hub.publish("nuc-08")
            return releases

        api.releases.list = list_later  # type: ignore[method-assign]
        with api.hub.open() as reader:
            assert reader is not None
            api.hub.publish("nuc-07")
            seen = api.hub.last_id
            told = await events._wait_for_events(api.view, api.hub, reader)
        assert f"\nid: {seen}\n" in told
        assert seen != api.hub.last_id

    run(scenario)


def test_a_machine_that_has_a_name_since_has_no_row() -> None:
    api = Api()
    for boot in (
        make_boot(None, machine="mac 02:00:00:00:00:08"),
        make_boot(None, machine="mac 02:00:00:00:00:99"),
    ):
        api.boots.note(boot)
    found = [api.hub.rows.is_listed(each) for each in ("nuc-08", *api.boots.latest, "nobody")]
    assert found == [True, False, True, False]
