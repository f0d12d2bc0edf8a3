"""Problems of options → the same, with the line and the column in the file that sets them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ectools.names import show_path

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from ectools.documents.source_map import Place, SourceMapped
    from ectools.errors import Problem


def locate_problems(
    problems: Iterable[Problem],
    mapped: SourceMapped,
    *,
    file: str,
    start: str = "",
    elsewhere: Collection[str] = (),
) -> list[Problem]:
    """Each problem with its place in ``file``; that of an option which is missing is its nearest container's.

    ``start``: the dotted path of what the whole file describes, empty where it begins with the first step of
    a path. ``elsewhere``: options that a flag or the environment has set, which have no place in the file.
    """
    places: dict[str, Place] = {
        show_path(place, start): place for place in (*mapped.source_map.values, *mapped.source_map.keys)
    }
    return [
        problem
        if problem.file is not None or problem.option in elsewhere
        else _locate(problem, mapped, places, file=file)
        for problem in problems
    ]


def _locate(problem: Problem, mapped: SourceMapped, places: dict[str, Place], *, file: str) -> Problem:
    place = places.get(problem.option)
    if place is not None:
        position = mapped.find_position(place)
    else:
        position = mapped.find_key(_find_container(problem.option, places))
    return replace(
        problem,
        file=file,
        line=position.line if position else None,
        column=position.column if position else None,
    )


def _find_container(option: str, places: dict[str, Place]) -> Place:
    """The place of the longest path that the file has and ``option`` is below."""
    above = (shown for shown in places if option.startswith((f"{shown}.", f"{shown}[")))
    return places[max(above, key=len, default="")] if places else ()
