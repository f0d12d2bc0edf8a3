"""jsonschema's errors in the words of options: the path, the value, what was expected, a nearby name."""

from __future__ import annotations

import functools
import json
import re
from typing import TYPE_CHECKING, Any

from ectools.errors import UNSET, Problem
from ectools.names import show_path
from ectools.redact import redact_value
from ectools.schema_words import describe, describe_contains, join_words, show_value, types_of
from ectools.suggest import find_similar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_DEMANDS = {
    "dependencies": "what goes with the names that are there: {}",
    "dependentRequired": "the names that go with those that are there: {}",
    "exclusiveMaximum": "a number less than {}",
    "exclusiveMinimum": "a number greater than {}",
    "format": "text of the form {}",
    "maximum": "a number of at most {}",
    "maxItems": "a list of at most {} items",
    "maxLength": "a string of at most {} characters",
    "maxProperties": "an object of at most {} names",
    "minimum": "a number of at least {}",
    "minItems": "a list of at least {} items",
    "minLength": "a string of at least {} characters",
    "minProperties": "an object of at least {} names",
    "multipleOf": "a multiple of {}",
    "unevaluatedItems": "a list without further items",
    "unevaluatedProperties": "an object without further names",
    "additionalItems": "a list without further items",
    "uniqueItems": "a list of different items",
}
_SAID_BY_TYPES = frozenset({"exclusiveMinimum", "maximum", "minimum"})
"""Those of which the words of a schema with a type tell."""
_DEMANDS_OF_SCHEMAS = {"not": "anything but {}", "propertyNames": "names that are: {}"}


def explain(errors: Iterable[Any], root: dict[str, Any], prefix: str) -> list[Problem]:
    """One Problem for each thing that is wrong. ``errors`` are jsonschema's, in the document's order."""
    explainer = _Explainer(root, prefix)
    for error in errors:
        explainer.add(error, ())
    return explainer.problems


class _Explainer:
    def __init__(self, root: dict[str, Any], prefix: str) -> None:
        self.problems: list[Problem] = []
        # By its option: a document may have as many problems as it has values.
        self._known: dict[str, list[Problem]] = {}
        self._root = root
        self._prefix = prefix

    def _append(self, problem: Problem) -> None:
        self.problems.append(problem)
        self._known.setdefault(problem.option, []).append(problem)

    @functools.cached_property
    def _places(self) -> dict[str, list[tuple[str, ...]]]:
        """Where the schema has an option of a name."""
        places: dict[str, list[tuple[str, ...]]] = {}
        for path in _option_paths(self._root):
            places.setdefault(path[-1], []).append(path)
        return places

    def add(self, error: Any, above: Sequence[str | int]) -> None:
        """``above`` is where the enclosing error stands: paths inside an anyOf are relative to it."""
        path = (*above, *error.relative_path)
        match error.validator:
            case "additionalProperties" if isinstance(error.instance, dict):
                self._unknown_names(error, path)
            case "required":
                self._missing_name(error, path)
            case "anyOf":
                self._alternatives(error, path)
            case "oneOf" if error.context:
                self._alternatives(error, path)
            case "readOnly":
                self._read_only(error, path)
            case _:
                self._put(path, error.instance, error.schema, self._demand(error))

    def _demand(self, error: Any) -> str | None:
        """What a keyword asks for that no schema of options has; None for those that a type's words say."""
        keyword, demand = error.validator, error.validator_value
        if keyword in _DEMANDS_OF_SCHEMAS:
            return _DEMANDS_OF_SCHEMAS[keyword].format(describe(demand, self._root, 1))
        if keyword == "oneOf":
            # Without errors of its alternatives: more than one of them takes the value.
            names = join_words([describe(each, self._root, 1) for each in demand])
            return f"what only one of these is, and it is several: {names}"
        if keyword in ("contains", "maxContains", "minContains"):
            return describe_contains(describe(error.schema["contains"], self._root, 1), error.schema)
        is_said = keyword in _SAID_BY_TYPES and types_of(error.schema)
        if keyword in _DEMANDS and not is_said and (keyword, demand) != ("minItems", 1):
            return _DEMANDS[keyword].format(show_value(demand).partition(" (")[0])
        return None

    def _put(
        self, path: Sequence[str | int], value: Any, schema: dict[str, Any], demand: str | None = None
    ) -> None:
        problem = Problem(
            option=show_path(path, self._prefix) or "document",
            message=f"is {show_value(value)}",
            value=value,
            expected=demand or describe(schema, self._root),
            hint=_nearby_value(value, schema) or _leave_out_user(value),
        )
        if problem not in self._known.get(problem.option, ()):
            self._append(problem)

    def _unknown_names(self, error: Any, path: Sequence[str | int]) -> None:
        known = error.schema.get("properties", {})
        patterns = error.schema.get("patternProperties", {})
        for name in error.instance:
            if name in known or any(re.search(pattern, name) for pattern in patterns):
                continue
            self._append(
                Problem(
                    option=show_path((*path, name), self._prefix),
                    message="there is no such option",
                    value=error.instance[name],
                    expected=None if known else "no name at all",
                    hint=self._nearby(name, known, path),
                )
            )

    def _nearby(self, name: str, known: dict[str, Any], path: Sequence[str | int]) -> str | None:
        if similar := find_similar(name, known):
            return f"did you mean {show_path((*path, similar[0]), self._prefix)}?"
        elsewhere = self._places.get(name, [])
        if len(elsewhere) == 1:
            return f"did you mean {show_path(elsewhere[0], self._prefix)}?"
        if known and len(known) <= 8:
            return f"the names here are: {', '.join(known)}"
        return None

    def _missing_name(self, error: Any, path: Sequence[str | int]) -> None:
        # jsonschema yields one error for each missing name, without saying in a field which it is.
        for name in error.validator_value:
            option = show_path((*path, name), self._prefix)
            if name in error.instance or option in self._known:
                continue
            expected = describe(error.schema.get("properties", {}).get(name, {}), self._root)
            self._append(
                Problem(
                    option=option, message="is missing and has no default", value=UNSET, expected=expected
                )
            )

    def _read_only(self, error: Any, path: Sequence[str | int]) -> None:
        self._append(
            Problem(
                option=show_path(path, self._prefix) or "document",
                message="is read-only",
                value=error.instance,
                hint="leave it out: its module alone sets it",
            )
        )

    def _alternatives(self, error: Any, path: Sequence[str | int]) -> None:
        """Follow the branch that came closest; where none got past the value itself, name them all."""
        branches = _branches(error)
        tags = _tags(error.validator_value)
        if tags and isinstance(error.instance, dict):
            known = [tag for tag in tags if tag in error.instance]
            if len(error.instance) == 1 and known:
                for inner in branches[tags.index(known[0])]:
                    self.add(inner, path)
            else:
                self._wrong_tags(error.instance, tags, path)
            return
        inside = {index: found for index, found in branches.items() if not _fails_at_root(found)}
        if not inside:
            names = join_words([describe(each, self._root, 1) for each in error.validator_value])
            only = None if error.validator == "anyOf" else f"exactly one of: {names}"
            self._put(path, error.instance, error.schema, only)
            return
        for inner in min(inside.values(), key=_distance):
            self.add(inner, path)

    def _wrong_tags(self, value: dict[str, Any], tags: list[str], path: Sequence[str | int]) -> None:
        """A set that has not exactly one of these names."""
        rule = f"exactly one of {', '.join(tags)}"
        unknown = [name for name in value if name not in tags]
        for name in unknown:
            close = find_similar(name, tags)
            meant = f"did you mean {show_path((*path, close[0]), self._prefix)}? " if close else ""
            self._append(
                Problem(
                    option=show_path((*path, name), self._prefix),
                    message="there is no such option",
                    value=value[name],
                    hint=f"{meant}here stands {rule}",
                )
            )
        if not unknown:
            self._append(
                Problem(
                    option=show_path(path, self._prefix) or "document",
                    message=f"has {', '.join(value) or 'no name'}",
                    value=value,
                    expected=rule,
                    hint="remove all but one" if value else None,
                )
            )


def _tags(alternatives: list[Any]) -> list[str]:
    """The names of which exactly one may be set, where a schema's alternatives say just that; else none."""
    tags: list[str] = []
    for branch in alternatives:
        names = list(branch.get("properties", ())) if isinstance(branch, dict) else []
        if (
            len(names) != 1
            or branch.get("required") != names
            or branch.get("additionalProperties") is not False
        ):
            return []
        tags += names
    return tags


def _nearby_value(value: Any, schema: Any) -> str | None:
    """What was probably meant: a choice of nearly the same letters, or the same with or without quotes."""
    branches = schema.get("anyOf", [schema]) if isinstance(schema, dict) else []
    branches = [branch for branch in branches if isinstance(branch, dict)]
    if isinstance(value, str):
        choices = [each for branch in branches for each in branch.get("enum", ()) if isinstance(each, str)]
        if similar := find_similar(value, choices):
            return f"did you mean {json.dumps(similar[0], ensure_ascii=False)}?"
    types = {each for branch in branches for each in types_of(branch) or ["any"]}
    if isinstance(value, str) and not types & {"string", "any"}:
        pattern = r"true|false" if "boolean" in types else r"-?(0|[1-9][0-9]{0,18})"
        quoted = types & {"boolean", "integer", "number"} and re.fullmatch(pattern, value)
        return f"write {value} without quotes" if quoted else None
    if isinstance(value, (int, float)) and "string" in types:
        return f"put it in quotes: {json.dumps(json.dumps(value))}"
    return None


def _leave_out_user(value: Any) -> str | None:
    """What to do with a password in an address."""
    if isinstance(value, str) and redact_value(value) != value:
        return "an address is written without user, password and key: an option that names a file takes them"
    return None


def _branches(error: Any) -> dict[int, list[Any]]:
    """The errors of each alternative of an anyOf, by its number."""
    branches: dict[int, list[Any]] = {}
    for inner in error.context:
        # The error of a schema that is false has no path.
        branches.setdefault(next(iter(inner.relative_schema_path), -1), []).append(inner)
    return branches


def _fails_at_root(errors: list[Any]) -> bool:
    """Whether a branch refuses the value itself, rather than something in it."""
    for error in errors:
        if error.relative_path or error.validator in ("additionalProperties", "required", "minItems"):
            continue
        if error.validator not in ("anyOf", "oneOf") or all(map(_fails_at_root, _branches(error).values())):
            return True
    return False


def _distance(errors: list[Any]) -> tuple[int, int]:
    return len(errors), -max(len(error.relative_path) for error in errors)


def _option_paths(node: dict[str, Any], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for name, inner in node.get("properties", {}).items():
        found.append((*path, name))
        if isinstance(inner, dict) and "x-nix-type" not in inner:
            found.extend(_option_paths(inner, (*path, name)))
    return found
