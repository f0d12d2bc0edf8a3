"""A rollout over many nodes at once: how long all that leads back takes, and what the store does a second."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from write_fleet import build_mac

from ectools.netboot.api.client import FleetClient
from ectools.netboot.state.sqlite import SqliteStore

if TYPE_CHECKING:
    from pathlib import Path

GROUP = "led"
_CALLS = 500
_AT_ONCE = 64
_WAIT_SECONDS = 60.0


def write_led_fleet(nodes: int, release: str, path: Path) -> None:
    """A fleet of one group, which names what it boots."""
    names = {
        f"node-{number}": {"group": GROUP, "match": {"mac": [build_mac(number)]}} for number in range(nodes)
    }
    path.write_text(json.dumps({"groups": {GROUP: {"release": release}}, "nodes": names}))


def start_rollout(control: Path, target: str, nodes: int) -> None:
    """To all at once: whoever asks gets it."""
    body = {"group": GROUP, "release": target, "canary": nodes, "waves": [100], "max_failures": 0}
    FleetClient(control).post("rollouts", body=body)


def stop_rollout(control: Path, address: tuple[str, int], booted: Path, before: str) -> dict[str, float]:
    """One node of ``booted`` reports that it is not healthy: the seconds until all are led back."""
    _, path, release = booted.read_text().splitlines()[0].split()
    client = FleetClient(control)
    fields = {"stage": "up", "healthy": "no", "release": release, "failed": "a.service"}
    began = time.monotonic()
    connection = http.client.HTTPConnection(*address, timeout=60)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", path, urlencode(fields), headers)
    assert connection.getresponse().status == 200
    while client.get("rollouts", GROUP)["state"] != "stopped":
        if time.monotonic() > began + _WAIT_SECONDS:
            raise SystemExit("the rollout does not stop")
        time.sleep(0.005)
    stopped = time.monotonic() - began
    rows = client.get("nodes")["nodes"]
    back = time.monotonic() - began
    others = [row["name"] for row in rows if row["next"]["release"]["id"] != before]
    if others:
        raise SystemExit(f"{len(others)} of {len(rows)} nodes are not led back")
    return {"first bad report to stopped, s": stopped, "to all read as led back, s": back}


def measure_state(directory: Path, nodes: int) -> dict[str, float]:
    """Calls a second of the store that a host has of itself."""
    return asyncio.run(_measure_state(directory / f"state-{os.urandom(4).hex()}.sqlite3", nodes))


async def _measure_state(path: Path, nodes: int) -> dict[str, float]:
    store = SqliteStore(path)
    await store.start()
    small = {"state": "booting", "release": "sha256-" + "a" * 32, "stages": {"script": 1.5}}
    large = {"taken": [[f"node-{number}", 1.5e9] for number in range(nodes)]}
    found = {}

    async def put(value: dict[str, Any], *, at_once: int) -> float:
        began, turns = time.monotonic(), _CALLS // at_once
        for turn in range(turns):
            await asyncio.gather(*(store.put(f"boots/{turn}-{each}", value) for each in range(at_once)))
        return turns * at_once / (time.monotonic() - began)

    found["writes a second, one after the other"] = await put(small, at_once=1)
    found[f"writes a second, {_AT_ONCE} at once"] = await put(small, at_once=_AT_ONCE)
    found[f"writes a second of a rollout of {nodes:,}, one after the other"] = await put(large, at_once=1)
    began = time.monotonic()
    for number in range(_CALLS):
        await store.get(f"boots/{number}-0")
    found["reads a second"] = _CALLS / (time.monotonic() - began)
    await store.close()
    return found
