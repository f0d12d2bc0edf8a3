"""The boot server killed again and again amid a storm: nothing that it has acknowledged is lost."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from support.boot_service import build_argv, stage, write_settings
from support.storm_nodes import Ledger, StormNode

from ectools.netboot.boots.encode import decode_boot
from ectools.netboot.boots.model import BootState
from ectools.netboot.state.sqlite import STATE_FILE, SqliteStore

if TYPE_CHECKING:
    from pathlib import Path

    from ectools.netboot.boots.model import NodeBoot

NODES = 24


class KilledServer:
    """``ectools netboot serve`` without dnsmasq, which takes no right, started anew after each kill."""

    def __init__(self, settings_file: Path) -> None:
        self._argv = build_argv(
            settings_file,
            *("--json", "--log-format", "json"),
            *("--dnsmasq-reports", str(settings_file.with_name("reports"))),
        )
        self._log_file = settings_file.with_suffix(".log")
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self._log_file.open("a") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._argv, stdout=subprocess.PIPE, stderr=log
            )
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        assert line, self._log_file.read_text()[-4000:]

    async def end(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        await self._process.wait()


async def storm(settings_file: Path, address: tuple[str, int], ledger: Ledger, *, kills: int) -> None:
    """Nodes boot while the server is killed, and go on to the end of their boots afterwards."""
    rng, ended = random.Random(14), asyncio.Event()
    server = KilledServer(settings_file)
    await server.start()
    nodes = [
        StormNode(
            name=f"n{number}",
            mac=f"02:00:00:00:00:{number:02x}",
            source=f"127.9.0.{number + 1}",
            server=address,
            ledger=ledger,
        )
        for number in range(NODES)
    ]
    try:
        async with asyncio.TaskGroup() as group:
            for node in nodes:
                group.create_task(node.boot_until(ended))
            for _ in range(kills):
                # From in the middle of the first requests to some boots later.
                await asyncio.sleep(rng.uniform(0, 0.5))
                await server.end(signal.SIGKILL)
                await server.start()
            ended.set()
    finally:
        await server.end(signal.SIGTERM)


async def read_boots(state_dir: Path) -> dict[str, NodeBoot]:
    """All boots of the record, by their tokens' hashes."""
    store = SqliteStore(state_dir / "fleet" / STATE_FILE)
    await store.start()
    try:
        entries = [*await store.list("latest/"), *await store.list("boots/")]
    finally:
        await store.close()
    return {boot.token_hash: boot for boot in (decode_boot(entry.value) for entry in entries)}


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("kills", [20, pytest.param(100, marks=pytest.mark.full)])
def test_no_boot_is_lost_that_was_acknowledged_and_no_node_fails(tmp_path: Path, kills: int) -> None:
    fleet: dict[str, Any] = {
        "groups": {"g": {"healthyWithin": 3600}},
        "nodes": {
            f"n{number}": {"group": "g", "match": {"mac": [f"02:00:00:00:00:{number:02x}"]}}
            for number in range(NODES)
        },
    }
    settings_file = write_settings(tmp_path, fleet={**fleet, "listen": None})
    (tmp_path / "state").mkdir()
    stage(tmp_path / "state", {"bzImage": b"kernel " * 2000, "initrd": b"initrd " * 4000})
    ledger = Ledger()
    raw = json.loads(settings_file.read_text())
    asyncio.run(storm(settings_file, (raw["listenIP"], raw["httpPort"]), ledger, kills=kills))
    assert set(ledger.boots) == set(fleet["nodes"])
    # The kills met requests: some answers did not come, or not whole.
    assert ledger.answers[0] > kills
    kept = asyncio.run(read_boots(tmp_path / "state"))
    assert ledger.begun - kept.keys() == set()
    assert {kept[each].state for each in ledger.reported} == {BootState.HEALTHY}
    assert not [boot for boot in kept.values() if boot.state is BootState.FAILED]
