"""Three boot hosts in network namespaces that share one fleet over NATS, and nodes that boot from them while
a rollout goes on: one host is killed, one is cut off from NATS, and NATS is started anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.boot_service import require_boot_services
from support.moving_nodes import MovingNode
from support.nats_site import Site, find_mac, start_site
from support.served_rollout import rollout
from support.storm_nodes import Ledger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ectools.netboot.release.manifest import Release

HOSTS = 3


@pytest.fixture(autouse=True)
def _needs() -> None:
    require_boot_services()


async def ask(sock: Path, *words: str) -> Any:
    """What a command prints as JSON, whatever its exit status is."""
    argv = [sys.executable, "-m", "ectools.cli.main", *words, "--json", "--socket", str(sock)]
    done = await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    return [json.loads(line) for line in lines] if words[1] == "log" else json.loads(done.stdout or "null")


async def wait_for(sock: Path, words: Sequence[str], wanted: Any, *, seconds: float = 240) -> Any:
    found = None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not wanted(found := await ask(sock, *words)):  # noqa: ASYNC110 - a command tells it
                await asyncio.sleep(0.2)
            return found
    raise AssertionError(f"still not: {words}: {json.dumps(found)[:3000]}")


async def boot_once_more(nodes: Sequence[MovingNode], booting: Sequence[asyncio.Task[None]]) -> None:
    """Until each node has booted once more. Raises what one of them has failed by."""
    before = [node.boots for node in nodes]
    async with asyncio.timeout(300):
        while not all(node.boots > had for node, had in zip(nodes, before, strict=True)):
            for task in booting:
                if task.done():
                    task.result()
            await asyncio.sleep(0.05)


@pytest.mark.netns
@pytest.mark.parametrize(
    ("origin", "count"),
    [
        ("pypi", 24),
        pytest.param("pypi", 300, marks=pytest.mark.full),
        pytest.param("debian", 300, marks=pytest.mark.full),
    ],
)
def test_a_rollout_over_three_hosts_of_which_each_has_its_bad_day(
    tmp_path: Path, origin: str, count: int
) -> None:
    names = [f"node-{number:03}" for number in range(count)]
    with start_site(tmp_path, origin, names) as site:
        asyncio.run(_have_a_bad_day(site, names))
        for service in site.services.values():
            assert "Traceback" not in service.log_file.read_text()


async def _have_a_bad_day(site: Site, names: Sequence[str]) -> None:
    servers = [(net.address, site.port) for net in site.nets]
    ledger, ended = Ledger(), asyncio.Event()
    nodes = [
        MovingNode(
            name=name,
            mac=find_mac(number),
            source="0.0.0.0",
            server=servers[number % HOSTS],
            ledger=ledger,
            servers=servers,
            rest=len(names) / 100,
        )
        for number, name in enumerate(names)
    ]
    booting = [asyncio.create_task(node.boot_until(ended)) for node in nodes]
    try:
        await boot_once_more(nodes, booting)
        rows = await wait_for(
            site.sock(0),
            ("fleet", "hosts"),
            lambda rows: len(rows) == HOSTS and all(row["up"] for row in rows),
        )
        assert [row["name"] for row in rows] == ["boot-0", "boot-1", "boot-2"]
        await asyncio.to_thread(
            rollout,
            *(site.sock(0), "start", site.after.id, "--group", "runners"),
            *("--waves", "20%,60%,100%", "--max-failures", "0"),
        )
        await wait_for(site.sock(2), ("rollout", "status"), lambda found: found and found[0]["wave"] >= 1)
        site.nets[2].cut()
        site.kill(1)
        await boot_once_more(nodes, booting)
        site.nats.kill()
        await boot_once_more(nodes, booting)
        site.nats.start()
        await boot_once_more(nodes, booting)
        site.start(1)
        site.nets[2].mend()
        for number in range(HOSTS):
            await wait_for(
                site.sock(number),
                ("rollout", "status"),
                lambda found: found and found[0]["state"] == "done",
            )
        await boot_once_more(nodes, booting)
        # What a host was about to tell when it was killed, nobody could know until it was there again.
        assert sum(node.unreported for node in nodes) <= len(nodes)
        ended.set()
        await asyncio.gather(*booting)  # raises where a boot has failed
    finally:
        for task in booting:
            task.cancel()
        await asyncio.wait(booting)
    await _look_back(site, names)


async def _look_back(site: Site, names: Sequence[str]) -> None:
    """All hosts know the same: everybody healthy on the new release, nothing lost and nothing twice."""
    wanted = Counter({"rollout-started": 1, "rollout-wave": 3, "rollout-done": 1})

    def is_told(events: Sequence[Any]) -> bool:
        return Counter(each["kind"] for each in events if each["kind"].startswith("rollout-")) == wanted

    for number in range(HOSTS):
        rows = await wait_for(
            site.sock(number),
            ("fleet", "status"),
            lambda rows: all(is_on(site.after, row) for row in rows),
        )
        assert [row["name"] for row in rows] == list(names)
        await wait_for(site.sock(number), ("fleet", "log"), is_told)
        found = await ask(site.sock(number), "rollout", "status")
        assert found[0]["failed"] == []
    rows = await wait_for(
        site.sock(0), ("fleet", "hosts"), lambda rows: all(row["up"] and not row["behind"] for row in rows)
    )
    assert [row["dropped"] for row in rows] == [0] * HOSTS


def is_on(release: Release, row: Any) -> bool:
    return row["state"] == "healthy" and row["release"]["id"] == release.id and row["on_release"] is True
