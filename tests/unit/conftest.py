"""What all unit tests share: none finds the log as another has set it up, and each can read it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from support.log_lines import LogLines

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def fresh_log(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """``ectools``' logger as it is before ``log.set_up``, which a command run in this process calls."""
    logger = logging.getLogger("ectools")
    monkeypatch.setattr(logger, "propagate", True)
    before = logger.handlers[:], logger.level
    logger.handlers[:] = []
    logger.setLevel(logging.DEBUG)
    yield
    logger.handlers[:], level = before
    logger.setLevel(level)


@pytest.fixture
def log_lines(fresh_log: None) -> LogLines:
    """What the test has logged so far."""
    return LogLines()
