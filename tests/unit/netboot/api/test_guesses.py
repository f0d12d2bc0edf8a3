"""Who sends wrong tokens waits for a turn; who has gone keeps no place, and who sends right ones gets in."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace

import pytest
from support.api_tcp import tcp
from support.fleet_api import TOKEN, Api
from support.scenarios import run

from ectools.netboot.api import guesses
from ectools.netboot.api.guesses import GUESS_SECONDS, LookTurns


def make_request(token: str) -> bytes:
    fields = f"Host: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
    return f"POST /api/v1/nodes/nuc-07/hold HTTP/1.1\r\n{fields}Content-Length: 2\r\n\r\n{{}}".encode()


async def ask(port: int, token: str) -> int:
    """The status."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(make_request(token))
    status = int((await reader.readline()).split()[1])
    writer.close()
    return status


def find_turns(api: Api) -> LookTurns:
    return api.token_rights._turns


def test_a_right_token_gets_in_while_others_of_the_address_guess() -> None:
    async def scenario() -> None:
        api = Api()
        async with tcp(api) as port:
            assert [await ask(port, "guess") for _ in range(10)] == [403] * 10
            begun = time.monotonic()
            guesses = [asyncio.create_task(ask(port, f"guess-{number}")) for number in range(20)]
            await asyncio.sleep(GUESS_SECONDS)
            assert await ask(port, TOKEN) == 200
            assert {await each for each in guesses} == {429}
            # However fast they come: each look is so long after the one before.
            assert time.monotonic() - begun >= 20 * GUESS_SECONDS
            assert len(find_turns(api)) == 0

    run(scenario)


def test_who_has_gone_before_it_was_read_takes_no_place() -> None:
    async def scenario() -> None:
        turns = LookTurns()
        for _ in range(3):
            with pytest.raises(ConnectionResetError):
                await turns.wait(SimpleNamespace(transport=None))  # type: ignore[arg-type]
        assert len(turns) == 0

    run(scenario)


def test_who_has_hung_up_keeps_no_place_in_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guesses, "GUESS_SECONDS", 1000.0)

    async def count(api: Api, wanted: int) -> None:
        async with asyncio.timeout(30):
            while len(find_turns(api)) != wanted:  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(0.01)

    async def scenario() -> None:
        api = Api()
        async with tcp(api) as port:
            for _ in range(10):
                await ask(port, "guess")
            writers = []
            for _ in range(50):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(make_request("guess"))
                writers.append(writer)
            await count(api, 49)  # the first one was looked at
            for writer in writers:
                writer.transport.abort()
            await count(api, 0)

    run(scenario)
