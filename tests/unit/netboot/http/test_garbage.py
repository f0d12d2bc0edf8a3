"""Collections of a server that is ready."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

from ectools.netboot.http.garbage import settle_memory

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def thresholds() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.mark.usefixtures("thresholds")
def test_what_is_loaded_is_never_looked_through_again() -> None:
    collected: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            collected.append(info["generation"])

    gc.callbacks.append(note)
    try:
        settle_memory()
    finally:
        gc.callbacks.remove(note)
    # What is garbage by then is not kept for good.
    assert 2 in collected
    assert gc.get_freeze_count() > 1000
    assert gc.get_threshold() == (2000, 20, 50)
