"""A host description against its schema: every bad value at once, with its place in the file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ectools import schemas
from ectools.documents.load import SCHEMA_KEY
from ectools.documents.problem import OptionProblem, ProblemKind
from ectools.errors import Problem
from ectools.host.combined_schema import describe_option, find_declaration, find_option, load_combined_schema
from ectools.host.fast_validate import fast_validate
from ectools.names import resolve_reference, show_path
from ectools.nixlang import scalars
from ectools.nixlang.scalars import RenderError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ectools.documents.load import HostDescription
    from ectools.documents.source_map import Place, Position
    from ectools.schemas import Schema


def validate_host(description: HostDescription, schema: Schema | None = None) -> list[OptionProblem]:
    """Everything that is wrong in ``description``, in the order of the file; empty where it is valid.

    ``schema`` is ``load_combined_schema()`` where none is given.
    """
    schema = load_combined_schema() if schema is None else schema
    value = description.root.value
    if description.editor_schema is not None and _describes_schema_key(schema.document, schema.document):
        value = {SCHEMA_KEY: description.editor_schema, **value}
    unrepresentable = list(_find_unrepresentable(value, ()))
    plain = schema.dialect == "2020-12"
    if plain and not unrepresentable and fast_validate(value, schema.document, schema.document):
        return []
    locator = _Locator(description, schema)
    problems = [locator.locate(problem) for problem in schemas.validate_document(value, schema, to_set=True)]
    named = {problem.option for problem in problems}
    problems += [locator.describe(each) for each in unrepresentable if show_path(each.place) not in named]
    return sorted(problems, key=lambda problem: (problem.line or 0, problem.column or 0))


def _describes_schema_key(schema: Any, document: dict[str, Any], followed: tuple[str, ...] = ()) -> bool:
    """Whether somebody else's schema says something of the key ``$schema`` of what it describes."""
    if not isinstance(schema, dict):
        return False
    if SCHEMA_KEY in schema.get("properties", ()) or SCHEMA_KEY in schema.get("required", ()):
        return True
    parts = [each for keyword in ("allOf", "anyOf", "oneOf") for each in schema.get(keyword, ())]
    reference = schema.get("$ref")
    if reference is not None and reference not in followed:
        parts.append(resolve_reference(reference, document))
        followed = (*followed, reference)
    return any(_describes_schema_key(each, document, followed) for each in parts)


@dataclass(frozen=True)
class _Unrepresentable:
    place: Place
    message: str
    is_name: bool


def _find_unrepresentable(value: Any, place: Place) -> Iterator[_Unrepresentable]:
    """What no schema forbids and Nix has no words for: NUL in a string, an integer of more than 64 bits."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _check_representable(name, (*place, name), is_name=True)
            yield from _find_unrepresentable(inner, (*place, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _find_unrepresentable(inner, (*place, index))
    else:
        yield from _check_representable(value, place, is_name=False)


def _check_representable(value: Any, place: Place, *, is_name: bool) -> Iterator[_Unrepresentable]:
    try:
        if isinstance(value, str):
            scalars.quote(value)
        elif isinstance(value, (int, float)):
            scalars.number(value)
    except RenderError as error:
        yield _Unrepresentable(place, error.message, is_name)


class _Locator:
    """Gives problems their place in the file, by the option path that names it."""

    def __init__(self, description: HostDescription, schema: Schema) -> None:
        self.description = description
        self.document = schema.document
        root = description.root
        self.source_map = {
            show_path(place): place for place in (*root.source_map.values, *root.source_map.keys)
        }

    def locate(self, problem: Problem) -> OptionProblem:
        root = self.description.root
        place = self.source_map.get(problem.option)
        if place is None:
            kind = ProblemKind.MISSING
            place = self.find_missing(problem.option)
            position = root.find_key(place[:-1])
        elif find_option(self.document, place):
            kind = ProblemKind.VALUE
            position = root.find_position(place)
        else:
            kind = ProblemKind.UNKNOWN
            # The name is what is wrong, not the value.
            position = root.find_key(place)
        return self.describe_at(position, problem, kind=kind, option=self.find_described(place))

    def describe(self, unrepresentable: _Unrepresentable) -> OptionProblem:
        root, place = self.description.root, unrepresentable.place
        position = root.find_key(place) if unrepresentable.is_name else root.find_position(place)
        problem = Problem(option=show_path(place), message=unrepresentable.message)
        return self.describe_at(position, problem, kind=ProblemKind.VALUE, option=self.find_described(place))

    def describe_at(
        self, position: Position | None, problem: Problem, *, kind: ProblemKind, option: dict[str, Any]
    ) -> OptionProblem:
        return OptionProblem(
            kind=kind,
            option=problem.option,
            message=problem.message,
            value=problem.value,
            expected=problem.expected,
            hint=problem.hint,
            file=self.description.file,
            line=position.line if position else None,
            column=position.column if position else None,
            description=describe_option(option),
            declared_in=find_declaration(option),
        )

    def find_missing(self, path: str) -> Place:
        """The place of an option that is not in the file: one step below the nearest object that is."""
        for shown, place in sorted(self.source_map.items(), key=lambda entry: len(entry[0]), reverse=True):
            if not shown or path.startswith(f"{shown}."):
                name = path[len(shown) + 1 :] if shown else path
                return (*place, json.loads(name) if name.startswith('"') else name)
        return ()

    def find_described(self, place: Place) -> dict[str, Any]:
        """The option that ``place`` is in: a list's item has no description of its own."""
        option = find_option(self.document, place)
        while place and option and "description" not in option:
            place = place[:-1]
            option = find_option(self.document, place)
        return option
