"""A user of NATS with the rights that docs/SCALING.md names: what a host then gets, and is told."""

from __future__ import annotations

import asyncio
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from support.nats_servers import NATS_SERVERS, NatsServer, start_nats
from support.shared_stores import count_tries, open_shared, until, until_there

from ectools.netboot.state import shared_link
from ectools.netboot.state.nats_access import NatsAddress, parse_nats_credentials
from ectools.netboot.state.nats_connection import open_bucket
from ectools.netboot.state.unreadable import UnreadableLog

ENTRIES = 4000
"""Of a kilobyte each: more than a server sends before it wants to hear whether it was read."""
BOOT = parse_nats_credentials("user=boot\npassword=secret", option="o")
ADMIN = parse_nats_credentials("user=admin\npassword=admin", option="o")
DOCUMENT = Path(__file__).parents[4] / "docs/SCALING.md"


def read_configuration(*, without: str = "") -> str:
    """As the document has it, with somebody who may everything beside."""
    found = re.search(r"^authorization \{.*?^\}", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None
    assert without in found[0]
    return found[0].replace(without, "").replace("users = [", "users = [{user: admin, password: admin}")


def start(directory: Path, origin: str, configuration: str) -> Any:
    directory.mkdir()
    file = directory / "nats.conf"
    file.write_text(configuration)
    return start_nats(directory, origin, options=["-c", str(file)])


async def fill(server: NatsServer, *, entries: int) -> None:
    """What other hosts have written while one was away."""
    address = NatsAddress(servers=(server.url,), bucket="every-channel")
    bucket = await open_bucket(address, server.url, ADMIN, None, name="fill", unreadable=UnreadableLog())
    value = json.dumps({"t": time.time(), "v": {"x": "y" * 1000}}).encode()
    for number in range(entries):
        await bucket._client.publish(f"$KV.every-channel.boots.a.{number:06d}", value)
        if number % 500 == 0:
            await bucket._client.flush()
    await bucket._client.flush(timeout=60)
    await until_there(
        lambda: bucket._jetstream.stream_info("KV_every-channel"),
        lambda about: about.state.messages >= entries,
    )
    await bucket.close()


@pytest.mark.parametrize("origin", NATS_SERVERS)
def test_the_documented_rights_are_enough(tmp_path: Path, origin: str) -> None:
    async def scenario(server: NatsServer) -> None:
        await fill(server, entries=ENTRIES)
        async with (
            open_shared(tmp_path / "one", server.url, credentials=BOOT) as one,
            open_shared(tmp_path / "two", server.url, credentials=BOOT) as two,
        ):
            assert len(await one.list("boots/a/")) == ENTRIES
            revision = await one.put("slots/g", {"n": 1}, expected=0)
            await two.put("latest/a", {"n": 2})
            await two.append("k", subject="s")
            await until(lambda: one.unsaid == 0 and two.unsaid == 0)
            found = await two.get("slots/g", fresh=True)
            assert found is not None
            assert found.revision == revision
            await one.delete("latest/a")
            await until(lambda: one.unsaid == 0)
            await one.view.forget_marks(one._need_bucket())
            assert one.is_attached
            assert two.is_attached

    with start(tmp_path / "nats", origin, read_configuration()) as server:
        asyncio.run(scenario(server))


@pytest.mark.parametrize("origin", NATS_SERVERS)
def test_what_the_server_refuses_stands_in_the_log(
    tmp_path: Path, origin: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without the right of flow control, and once, however often it is tried."""
    monkeypatch.setattr(shared_link, "LONGEST_PAUSE", 0.01)
    tries = count_tries(monkeypatch)

    async def scenario(server: NatsServer) -> None:
        await fill(server, entries=ENTRIES)
        async with open_shared(tmp_path / "one", server.url, credentials=BOOT, waits=False) as one:
            await until(lambda: "$js.fc." in (one.trouble or "").lower() and len(tries) > 2, seconds=60.0)
            assert not one.is_attached

    with start(tmp_path / "nats", origin, read_configuration(without=', "$JS.FC.>"')) as server:
        asyncio.run(scenario(server))
    told = [record for record in caplog.records if "cannot be reached" in record.getMessage()]
    assert len(told) == 1
    assert "$js.fc." in str(vars(told[0])).lower()  # nats-py has it in lower case
    assert "SCALING.md" in str(vars(told[0]))
