"""A service that runs in this process: the settings that it loads, its service manager, its log."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Any

from support.log_lines import LogLines

from ectools.netboot.settings.load import load_server_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.fake_dnsmasq import ServiceManager

    from ectools.netboot.settings.model import ServerSettings

LOOPBACK = "127.0.0.1"


def build_settings(directory: Path, **options: Any) -> ServerSettings:
    flags = {"listenIP": LOOPBACK, "stateDir": str(directory), "hostname": "192.0.2.10", **options}
    return load_server_settings(None, flags=flags, environment={})


class ServedCase:
    """``loads``: what loading its settings gives from now on, one by one; then ``settings`` again."""

    def __init__(self, directory: Path, manager: ServiceManager) -> None:
        self.manager = manager
        self.settings = build_settings(directory)
        self.loads: list[ServerSettings | Exception] = []
        self.calls: list[Any] = []
        self.lines = LogLines().having

    def load(self) -> ServerSettings:
        if not self.loads:
            return self.settings
        found = self.loads.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.manager.messages()  # its queue is short
            await asyncio.sleep(0.001)

    async def reload(self, settings: ServerSettings | Exception) -> dict[str, Any]:
        """Ask for it, and give the line that says what became of it."""
        before = len(self.lines("settings"))
        self.loads.append(settings)
        os.kill(os.getpid(), signal.SIGHUP)
        await self.until(lambda: len(self.lines("settings")) > before)
        return self.lines("settings")[before]
