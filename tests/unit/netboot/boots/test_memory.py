"""Boots in memory: found by what they are asked for by, and so many at most."""

from __future__ import annotations

import pytest
from support.fleet_api import make_boot

from ectools.netboot.boots import memory as module
from ectools.netboot.boots.memory import BootMemory, LiveBoot, hash_token


def begin(memory: BootMemory, subject: str, number: int, *, node: bool = True) -> LiveBoot:
    """The subject's newest boot, whose token is ``token-NUMBER``."""
    token_hash = hash_token(f"token-{number}")
    named = {"node": subject} if node else {"node": None, "machine": subject}
    live = LiveBoot(boot=make_boot(**named, id=f"boot-{number}", token_hash=token_hash))
    before = memory.newest.get(live.boot.subject)
    if before is not None:
        memory.supersede(before)
    memory.enter(live)
    return live


def test_a_boot_is_found_by_id_and_token_also_once_there_is_a_newer_one() -> None:
    memory = BootMemory()
    first = begin(memory, "nuc", 1)
    second = begin(memory, "nuc", 2)
    assert memory.find("boot-1") is memory.find_by_token("token-1") is first
    assert memory.find("boot-2") is memory.find_by_token("token-2") is second
    assert (memory.is_newest(first), memory.is_newest(second)) == (False, True)
    assert memory.latest == {"nuc": second.boot}
    assert list(memory.unwritten) == ["boot-1"]  # in the store it stands as the newest
    memory.bring_back(first, newest=second)
    assert memory.latest == {"nuc": first.boot}
    assert memory.find_by_token("token-2") is second


def test_those_that_were_superseded_first_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SUPERSEDED", 2)
    memory = BootMemory()
    for number in range(5):
        begin(memory, "nuc", number)
    assert [memory.find(f"boot-{number}") is not None for number in range(5)] == [
        False,
        False,
        True,
        True,
        True,
    ]
    assert memory.find_by_token("token-0") is None
    assert "boot-0" not in memory.unwritten


def test_machines_without_a_name_are_bounded_and_nodes_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_UNNAMED", 2)
    memory = BootMemory()
    for number in range(4):
        begin(memory, f"nuc-{number}", number)
        begin(memory, f"mac {number}", 10 + number, node=False)
    assert list(memory.latest) == ["nuc-0", "nuc-1", "nuc-2", "mac 2", "nuc-3", "mac 3"]
    assert list(memory.forgotten) == ["mac 0", "mac 1"]
    assert memory.find("boot-10") is None


def test_those_that_are_to_be_forgotten_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody forgets them while the disk is away."""
    monkeypatch.setattr(module, "MAX_UNNAMED", 2)
    memory = BootMemory()
    for number in range(9):
        begin(memory, f"mac {number}", number, node=False)
    assert list(memory.forgotten) == ["mac 5", "mac 6"]
    assert list(memory.latest) == ["mac 7", "mac 8"]
