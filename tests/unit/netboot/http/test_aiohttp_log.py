"""What of aiohttp's own log is kept: faults of a program, and one of them a minute."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from aiohttp import ClientPayloadError, web
from aiohttp.http import HttpProcessingError

from ectools.netboot.http.aiohttp_log import make_aiohttp_log

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "ectools.netboot.http.of_a_test"


@pytest.fixture
def now() -> list[float]:
    return [100.0]


@pytest.fixture
def logger(now: list[float]) -> Iterator[logging.Logger]:
    made = make_aiohttp_log(NAME, clock=lambda: now[0])
    yield made
    made.filters.clear()


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError("Cannot write to closing transport"),
        HttpProcessingError(message="x"),
        ClientPayloadError("x"),
        web.RequestPayloadError("x"),
    ],
)
def test_what_a_client_does_is_not_in_it(
    logger: logging.Logger, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    logger.error("Error handling request from %s", "192.0.2.9", exc_info=error)
    assert caplog.records == []


def test_faults_are_bounded(
    logger: logging.Logger, caplog: pytest.LogCaptureFixture, now: list[float]
) -> None:
    for _ in range(50):
        logger.error("Unhandled exception", exc_info=KeyError("x"))
    assert caplog.messages == ["a fault of this program; it goes on"]
    now[0] += 61
    logger.error("Unhandled exception", exc_info=KeyError("x"))
    assert len(caplog.messages) == 2
    assert caplog.records[1].fields["unreported"] == 49  # type: ignore[attr-defined]
    logger.warning("a word of aiohttp's")
    assert caplog.messages[2:] == ["a word of aiohttp's"]


def test_it_is_made_anew_for_each_server(caplog: pytest.LogCaptureFixture) -> None:
    first = make_aiohttp_log(NAME, clock=lambda: 0.0)
    assert make_aiohttp_log(NAME, clock=lambda: 0.0) is first
    assert len(first.filters) == 1
    first.filters.clear()
