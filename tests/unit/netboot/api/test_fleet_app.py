"""What the application answers: rows, boots, what was changed, and to whom it says no."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from typing import Any

import pytest
from support.fleet_api import CURRENT, FLEET, NOW, PREVIOUS, TOKEN, Api, FixedReleases, make_boot

from ectools.netboot.api import reading
from ectools.netboot.api.page.rows import build_row
from ectools.netboot.api.page.source import list_facts
from ectools.netboot.api.rows import describe_boot
from ectools.netboot.boots.model import BootState, BootUpdate, NodeStage, UpdateStep
from ectools.netboot.fleet.install import NodeInstall, name_order

ROOT = f"/nix/store/{'c' * 32}-nixos-system-ec-node-26.05"
INSTALLABLE = dataclasses.replace(CURRENT, installable={CURRENT.systems[0]: [ROOT]})


def row(rows: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [each for each in rows["nodes"] if each["name"] == name]
    assert isinstance(found, dict)
    return found


def test_rows_of_nodes_and_of_machines_without_a_name() -> None:
    async def scenario() -> None:
        api = Api()
        api.boots.note(make_boot())
        api.boots.note(
            make_boot(
                None,
                id="boot-2",
                machine="mac 02:00:00:00:00:99",
                state=BootState.FAILED,
                ended=NOW,
                why="no report",
            )
        )
        async with api.serve() as client:
            answer = await client.get("/api/v1/nodes")
            assert answer.headers["Content-Type"] == "application/json"
            rows = await answer.json()
        assert [each["name"] for each in rows["nodes"]] == [
            "nuc-07",
            "nuc-08",
            "on-disk",
            "mac 02:00:00:00:00:99",
        ]
        assert row(rows, "nuc-07") == {
            "name": "nuc-07",
            "known": True,
            "group": "runners",
            "next": {
                "boot": "network",
                "system": None,
                "wanted": None,
                "release": {"id": CURRENT.id, "tag": "boot-v2"},
                "waits": None,
            },
            "machine": "mac 02:00:00:00:00:07",
            "boot": "boot-1",
            "release": {"id": CURRENT.id, "tag": "boot-v2"},
            "system": "ec-runner-x86_64-netboot",
            "state": "booting",
            "stage": "kernel",
            "since": NOW - 18,
            "why": None,
            "on_release": False,
            "hold": None,
            "boot_once": None,
            "installed": None,
        }
        assert row(rows, "nuc-08")["state"] is None
        assert row(rows, "on-disk")["on_release"] is None
        unknown = row(rows, "mac 02:00:00:00:00:99")
        assert (unknown["known"], unknown["next"], unknown["why"]) == (False, None, "no report")

    asyncio.run(scenario())


def test_a_node_is_not_sent_to_boot_what_its_release_has_not() -> None:
    """It would wait for it, and ask again, for ever."""

    async def scenario() -> None:
        api = Api(releases=FixedReleases(CURRENT, PREVIOUS))
        async with api.serve() as client:

            async def order(**body: str) -> tuple[int, str]:
                answer = await client.post("/api/v1/nodes/nuc-07/boot-once", json=body)
                told = await answer.json()
                return answer.status, told.get("error", "")

            lacks = "nuc-07 would wait: boot-v2 has no system to install"
            assert await order(boot="install") == (409, lacks)
            api.releases.releases = (
                CURRENT,
                dataclasses.replace(PREVIOUS, installable={PREVIOUS.systems[0]: [ROOT]}),
            )
            assert await order(boot="install", release="boot-v1") == (200, "")
            # What has become so since is told where the node is looked at.
            api.releases.releases = (CURRENT, PREVIOUS)
            told = await (await client.get("/api/v1/nodes/nuc-07")).json()
            assert told["next"]["waits"] == "boot-v1 has no system to install"
            page = list_facts(api.fleet, {}, api.releases.releases, now=NOW)
            (row,) = [build_row(node, NOW) for node in page.nodes if node.subject == "nuc-07"]
            assert row.next == "it would wait: boot-v1 has no system to install"
            groups = {**FLEET["groups"], "runners": {"system": "ec-other"}}
            api.document = {**FLEET, "groups": groups}
            api.rebase()
            lacks = "nuc-07 would wait: boot-v1 has no system ec-other"
            assert await order(boot="network", release="boot-v1") == (409, lacks)
            assert await order(boot="disk") == (200, "")

    asyncio.run(scenario())


def test_a_disk_is_written_to_by_order_of_the_control_socket_alone() -> None:
    async def scenario() -> None:
        api = Api(releases=FixedReleases(INSTALLABLE, PREVIOUS))
        path, body = "/api/v1/nodes/on-disk/boot-once", {"boot": "install"}
        async with api.serve(api.token_rights) as client:
            headers = {"Authorization": f"Bearer {TOKEN}"}
            answer = await client.post(path, json=body, headers=headers)
            assert answer.status == 403
            assert "over the control socket alone" in (await answer.json())["error"]
            assert api.fleet.get_override("on-disk") is None
        async with api.serve() as client:
            told = await (await client.post(path, json=body)).json()
            assert (told["next"]["boot"], told["on_release"]) == ("install", False)
            assert told["assignment"]["install"]["erase"] is False
            install = NodeInstall(
                order=name_order(told["boot_once"]["at"]),
                at=NOW,
                boot_id="boot-1",
                disk="ata-ONE",
                system="/nix/store/x",
                release=CURRENT.id,
                done=True,
            )
            await api.fleet.note_install("on-disk", install)
            told = await (await client.get("/api/v1/nodes/on-disk")).json()
            assert (told["next"]["boot"], told["on_release"], told["boot_once"]) == ("disk", None, None)
            wanted = {"at": NOW, "release": CURRENT.id, "system": "/nix/store/x", "disk": "ata-ONE"}
            assert told["installed"] == wanted

    asyncio.run(scenario())


def test_a_node_that_is_led_on_its_disk_is_where_it_should_be_or_not() -> None:
    async def scenario() -> None:
        api = Api()
        error = BootUpdate(release=CURRENT.id, step=UpdateStep.COPY, at=NOW, error="the disk is full")
        async with api.serve() as client:
            for release, is_there in ((PREVIOUS, False), (CURRENT, True)):
                boot = make_boot(
                    "on-disk",
                    release=release.id,
                    state=BootState.HEALTHY,
                    ended=NOW,
                    from_disk=True,
                    update=None if is_there else error,
                )
                api.boots.note(boot)
                told = await (await client.get("/api/v1/nodes/on-disk")).json()
                assert told["on_release"] is is_there
                assert told["next"]["release"] == {"id": CURRENT.id, "tag": CURRENT.tag}
        described = describe_boot(make_boot(update=error, from_disk=True))
        assert described["from_disk"] is True
        assert described["update"] == {
            "release": CURRENT.id,
            "step": "copy",
            "at": NOW,
            "error": "the disk is full",
        }

    asyncio.run(scenario())


def test_a_node_is_held_and_released_by_whom() -> None:
    async def scenario() -> None:
        api = Api()
        async with api.serve(api.token_rights) as client:
            for headers in ({}, {"Authorization": "Bearer wrong"}):
                answer = await client.post("/api/v1/nodes/nuc-07/hold", headers=headers)
                assert answer.status == 403
            held = await client.post(
                "/api/v1/nodes/nuc-07/hold",
                json={"why": "memory"},
                headers={"Authorization": f"Bearer {TOKEN}"},
            )
            assert held.status == 200, await held.text()
            body = await held.json()
            assert body["hold"] == {"at": NOW, "by": "the access token, from 127.0.0.1", "why": "memory"}
            assert body["next"]["boot"] == "hold"
            answer = await client.post(
                "/api/v1/nodes/nuc-07/release", headers={"Authorization": f"Bearer {TOKEN}"}
            )
            assert (await answer.json())["hold"] is None
            events = (await (await client.get("/api/v1/log")).json())["events"]
        assert [each["kind"] for each in events] == ["node-held", "node-released"]

    asyncio.run(scenario())


@pytest.mark.parametrize("stage", [NodeStage.SCRIPT, NodeStage.LOADED, NodeStage.UP])
def test_a_boot_as_json_has_nothing_of_its_token(stage: NodeStage) -> None:
    async def scenario() -> None:
        api = Api()
        api.boots.note(make_boot(token_hash="5ec4e7" * 10, stages={NodeStage.SCRIPT: NOW - 1, stage: NOW}))
        async with api.serve() as client:
            for path in ("/api/v1/boots/boot-1", "/api/v1/nodes/nuc-07/boots", "/api/v1/nodes/nuc-07"):
                answer = await client.get(path)
                text = await answer.text()
                assert answer.status == 200
                assert "5ec4e7" not in text
                assert stage.value in text

    asyncio.run(scenario())


def test_events_as_they_happen() -> None:
    async def scenario() -> None:
        api = Api()
        async with api.serve() as client, asyncio.timeout(30):
            answer = await client.get("/api/v1/events")
            assert answer.headers["Content-Type"].startswith("text/event-stream")
            assert (await answer.content.readuntil(b"\n\n")).startswith(b"retry: ")
            await client.post("/api/v1/nodes/nuc-07/hold")
            event = (await answer.content.readuntil(b"\n\n")).decode()
            assert event.startswith("event: boot\nid: ")
            assert '"name": "nuc-07"' in event
            assert '"hold": {' in event
            answer.close()

    asyncio.run(scenario())


def test_all_rows_are_made_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []

    def describe(*_: Any) -> dict[str, Any]:
        threads.append(threading.get_ident())
        return {}

    monkeypatch.setattr(reading, "describe_row", describe)

    async def scenario() -> None:
        async with Api().serve() as client:
            told = await (await client.get("/api/v1/nodes")).json()
            assert (told["nodes"], told["now"]) == ([{}] * 3, NOW)

    asyncio.run(scenario())
    assert len(threads) == 3
    assert threading.get_ident() not in threads
