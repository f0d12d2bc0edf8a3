"""The boots that a server has kept, read from its state directory: it may be running, or have been killed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ectools.netboot.boots.register import BootRegister
from ectools.netboot.state.sqlite import STATE_FILE, SqliteStore

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ectools.netboot.boots.model import NodeBoot


def read_boots(state_dir: Path) -> Mapping[str, NodeBoot]:
    """Subject → its newest boot."""

    async def read() -> Mapping[str, NodeBoot]:
        store = SqliteStore(state_dir / "fleet" / STATE_FILE)
        await store.start()
        register = BootRegister(store)
        await register.load()
        await store.close()
        return register.latest

    return asyncio.run(read())
