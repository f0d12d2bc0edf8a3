"""What a test does on a loop, with an end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run the scenario, a minute at most."""

    async def inside() -> None:
        async with asyncio.timeout(60):
            await scenario()

    asyncio.run(inside())
