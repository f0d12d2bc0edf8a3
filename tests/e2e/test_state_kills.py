"""A store whose writer is killed at any point: what was acknowledged is there, and the file is whole."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from typing import TYPE_CHECKING

from ectools.netboot.state.sqlite import STATE_FILE, SqliteStore

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS = 25
WRITER = """
import asyncio, itertools, pathlib, sys
from ectools.netboot.state.sqlite import SqliteStore

async def run():
    store = SqliteStore(pathlib.Path(sys.argv[1]))
    await store.start()
    async def put(writer):
        for number in itertools.count():
            key = f"{sys.argv[2]}/{writer}/{number}"
            await store.put(key, {"text": "x" * (number * 97 % 3000)})
            print(key, flush=True)
    await asyncio.gather(*(put(writer) for writer in range(8)))

asyncio.run(run())
"""


def read_keys(path: Path) -> set[str]:
    async def read() -> set[str]:
        store = SqliteStore(path)
        await store.start()
        assert store.trouble is None
        keys = {entry.key for entry in await store.list("")}
        await store.close()
        return keys

    return asyncio.run(read())


def test_what_was_acknowledged_is_kept(tmp_path: Path) -> None:
    path = tmp_path / STATE_FILE
    chance = random.Random(14)
    acknowledged: set[str] = set()
    for turn in range(ROUNDS):
        argv = [sys.executable, "-c", WRITER, str(path), str(turn)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(chance.randrange(1, 400)):
                acknowledged.add(writer.stdout.readline().strip())
            writer.kill()
            # What stands in the pipe was acknowledged too; a line that was cut off was not.
            acknowledged |= {line.strip() for line in writer.stdout if line.endswith("\n")}
        assert read_keys(path) >= acknowledged
    assert "" not in acknowledged
    assert len(acknowledged) > ROUNDS
    assert not path.with_name(f"{STATE_FILE}.corrupt").exists()
