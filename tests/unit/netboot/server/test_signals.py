"""The signals of what serves, sent to this very process."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest
from support.fake_dnsmasq import signals_restored

from ectools.netboot.server.signals import handle_signals

if TYPE_CHECKING:
    from collections.abc import Iterator

NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    with signals_restored():
        yield


def test_each_signal_means_one_thing_and_afterwards_none() -> None:
    heard: list[str] = []

    async def run() -> None:
        with handle_signals(stop=lambda: heard.append("stop"), reload=lambda: heard.append("reload")):
            for number in NUMBERS:
                os.kill(os.getpid(), number)
                while len(heard) <= NUMBERS.index(number):  # noqa: ASYNC110 - the signal makes it true
                    await asyncio.sleep(0)
        # An end that has begun is not cut short.
        assert [signal.getsignal(number) for number in NUMBERS] == [signal.SIG_IGN] * 3
        for number in NUMBERS:
            os.kill(os.getpid(), number)
        await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(run(), 60))
    assert heard == ["stop", "stop", "reload"]


def test_a_failure_in_between_leaves_no_handler() -> None:
    async def run() -> None:
        with pytest.raises(ZeroDivisionError), handle_signals(stop=lambda: None, reload=lambda: None):
            raise ZeroDivisionError
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN

    asyncio.run(run())
