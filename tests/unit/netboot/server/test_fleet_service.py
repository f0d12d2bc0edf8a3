"""The listeners of a boot server and what follows its fleet, without the server."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from support.fleet_api import FLEET, TOKEN, Api, make_boot
from support.free_port import choose_port
from support.scenarios import run
from support.shared_stores import until
from support.staged import make_release, put_release

from ectools.netboot.api import releases as staged_module
from ectools.netboot.api.client import FleetClient
from ectools.netboot.release.store import ReleaseStore
from ectools.netboot.server import fleet_service as module
from ectools.netboot.server.fleet_service import FleetService
from ectools.netboot.settings.load import load_netboot_settings
from ectools.netboot.state.interface import StateError

if TYPE_CHECKING:
    from pathlib import Path

    from ectools.netboot.settings.model import NetbootSettings


def load(tmp_path: Path, listen: str | None, hosts: list[str]) -> NetbootSettings:
    config = tmp_path / "netboot.json"
    fleet = {"listen": listen, "allowedHosts": hosts}
    config.write_text(json.dumps({"listenIP": "192.0.2.10", "hostname": "boot.example.org", "fleet": fleet}))
    return load_netboot_settings(config, environment={})


def make_service(
    tmp_path: Path,
    api: Api,
    listen: str | None,
    control: Path | None = None,
    *,
    hosts: list[str] | None = None,
    **more: Any,
) -> FleetService:
    return FleetService(
        load(tmp_path, listen, hosts or []),
        fleet=api.fleet,
        rollouts=api.rollouts,
        boots=api.boots,
        store=api.store,
        releases=ReleaseStore(tmp_path / "state"),
        pin=api.view.pin,
        health=api.view.health,
        metrics=api.view.metrics,
        tokens=[TOKEN],
        control=control,
        **more,
    )


async def post(port: int, token: str) -> bytes:
    """The status line of a hold."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    fields = f"Host: b\r\nConnection: close\r\nAuthorization: Bearer {token}\r\nContent-Length: 0"
    writer.write(f"POST /api/v1/nodes/nuc-07/hold HTTP/1.1\r\n{fields}\r\n\r\n".encode())
    status = await reader.readline()
    writer.close()
    return status


def test_both_are_open_until_they_are_closed(tmp_path: Path) -> None:
    port = choose_port()
    control = tmp_path / "control.sock"

    async def scenario() -> None:
        api = Api()
        service = make_service(tmp_path, api, f"127.0.0.1:{port}", control)
        await service.load()
        await service.keep_open()
        async with service.running():
            assert b" 200 " in await post(port, TOKEN)
            service.set_tokens(["another-token-of-it"])
            assert b" 403 " in await post(port, TOKEN)
            rows = (await asyncio.to_thread(FleetClient(control).get, "nodes"))["nodes"]
            assert rows[0]["hold"]["by"] == "the access token, from 127.0.0.1"
            # Boots and what others write are told to who reads events.
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /api/v1/events HTTP/1.1\r\nHost: b\r\n\r\n")
            await reader.readuntil(b"retry: ")
            api.boots.note(make_boot())
            await reader.readuntil(b'"state": "booting"')
            hold = {"hold": {"at": 1, "by": "another host", "why": None}, "once": None}
            await api.store.put("overrides/nuc-08", hold)
            await reader.readuntil(b'"by": "another host"')
            writer.close()
        await service.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)

    run(scenario)


def test_what_groups_are_to_boot_and_is_not_staged_is_told_until_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(staged_module, "FRESH_SECONDS", 0.0)
    api = Api()
    api.document = {**FLEET, "groups": {**FLEET["groups"], "runners": {"release": "boot-v7"}}}
    api.rebase()

    async def scenario() -> None:
        service = make_service(tmp_path, api, None)
        async with service.running():
            await until(lambda: service.unstaged)
            assert [(each.release, each.groups) for each in service.unstaged] == [("boot-v7", ("runners",))]
            files = {"kernel": b"7"}
            put_release(tmp_path / "state", replace(make_release(files), tag="boot-v7"), files)
            await until(lambda: not service.unstaged)

    run(scenario)
    told = [record for record in caplog.records if "is not staged here" in record.getMessage()]
    assert [record.__dict__["fields"]["release"] for record in told] == ["boot-v7"]


def test_it_is_asked_for_by_its_own_names_and_those_that_are_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_own_names", lambda: ["own.example"])
    port = choose_port()
    listen = f"127.0.0.1:{port}"

    async def ask(host: str) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET /metrics HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        status = int((await reader.readline()).split()[1])
        writer.close()
        return status

    async def scenario() -> None:
        service = make_service(tmp_path, Api(), listen, hosts=[".allowed.example"])
        await service.keep_open()
        hosts = ("127.0.0.1", "own.example", "boot.example.org", "a.allowed.example", "evil.example")
        assert [await ask(host) for host in hosts] == [200, 200, 200, 200, 421]
        # As a reload has it.
        service.set_hosts(load(tmp_path, listen, ["evil.example"]))
        assert [await ask(host) for host in hosts] == [200, 200, 200, 421, 200]
        await service.close()

    run(scenario)


def test_the_control_socket_is_asked_for_by_no_name(tmp_path: Path) -> None:
    control = tmp_path / "control.sock"

    async def scenario() -> None:
        service = make_service(tmp_path, Api(), None, control)
        await service.keep_open()
        reader, writer = await asyncio.open_unix_connection(control)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: any.example\r\nConnection: close\r\n\r\n")
        assert b" 200 " in await reader.readline()
        writer.close()
        await service.close()

    run(scenario)


@pytest.mark.parametrize("reason", ["it is away", "the disk does not answer"])
def test_a_store_that_cannot_be_read_keeps_no_machine_from_booting(
    tmp_path: Path, reason: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_LOAD_SECONDS", 0.01)

    async def scenario() -> None:
        api = Api()

        async def fail(_: str) -> None:
            if reason == "it is away":
                raise StateError(reason)
            await asyncio.sleep(3600)

        monkeypatch.setattr(api.store, "list", fail)
        service = make_service(tmp_path, api, None)
        await service.load()
        async with service.running():
            pass

    run(scenario)
    (told,) = [each for each in caplog.records if each.message == "what was said of nodes cannot be read"]
    assert told.__dict__["fields"]["reason"] == reason
