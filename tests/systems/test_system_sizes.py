"""Sizes of the systems: how they are compared, and that none has grown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.nixos_build import Flake

from .purposes import PURPOSES
from .sizes import (
    IMAGES,
    PAGE,
    RECORD,
    LargePath,
    Record,
    SystemSize,
    find_chain,
    find_growth,
    format_page,
    format_record,
    measure,
    read_record,
)

SIZE = SystemSize(
    closure=1000, paths=2, image=200, largest=(LargePath(name="a", size=600, chain=("b", "a")),)
)
BEFORE = Record(nixpkgs="sha256-one", systems={"host": SIZE})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"closure": 1050, "image": 210}, ()),
        ({"closure": 1051}, ("closure",)),
        ({"image": 211}, ("image",)),
        ({"closure": 1100, "image": 300}, ("closure", "image")),
        ({"closure": 1, "image": None}, ()),
    ],
)
def test_growth_of_more_than_five_per_cent_is_told(change: dict[str, Any], named: tuple[str, ...]) -> None:
    now = Record(nixpkgs="sha256-one", systems={"host": replace(SIZE, **change)})
    told = find_growth(BEFORE, now)
    assert len(told) == len(named)
    assert all(f"the {what} has grown" in line for what, line in zip(named, told, strict=True))


def test_figures_of_another_nixpkgs_are_not_compared() -> None:
    assert (
        find_growth(BEFORE, Record(nixpkgs="sha256-two", systems={"host": replace(SIZE, closure=9999)})) == []
    )


def test_a_system_that_nobody_has_measured_is_told() -> None:
    (line,) = find_growth(BEFORE, Record(nixpkgs="sha256-one", systems={"new": SIZE}))
    assert line.startswith("new has no recorded size")


def test_a_record_is_read_as_it_was_written() -> None:
    assert read_record(format_record(BEFORE)) == BEFORE


def test_a_path_is_there_by_the_shortest_way() -> None:
    references = {"s": ["s", "x", "y"], "x": ["z"], "y": ["w"], "z": ["w"], "w": ["w"]}
    assert find_chain(references, "s", "w") == ["y", "w"]


def test_the_page_is_of_the_record_which_has_every_system() -> None:
    record = read_record(RECORD.read_text())
    assert set(record.systems) == set(IMAGES)
    assert PAGE.read_text() == format_page(record)


def test_of_each_large_path_it_is_said_what_it_is_for() -> None:
    systems = read_record(RECORD.read_text()).systems.values()
    assert {path.name for each in systems for path in each.largest} <= PURPOSES.keys()


@pytest.mark.nix
@pytest.mark.full
@pytest.mark.timeout(3600)
def test_no_system_has_grown(flake: Flake) -> None:
    recorded = read_record(RECORD.read_text())
    measured = measure(flake)
    if recorded.nixpkgs != measured.nixpkgs:
        pytest.skip(f"recorded with the nixpkgs {recorded.nixpkgs}, and this is {measured.nixpkgs}")
    assert find_growth(recorded, measured) == []
