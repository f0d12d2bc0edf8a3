"""A host description against the schemas: every bad value at once, with its place in the file."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from jsonschema import Draft202012Validator
from jsonschema.validators import extend

from ectools.errors import UNSET, Problem
from ectools.host.known import load_known_schemas
from ectools.host.located import Place, format_place
from ectools.host.phrases import describe, is_package, name_type, resolve, show_value
from ectools.nixlang import RenderError, render

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from jsonschema.exceptions import ValidationError

    from ectools.host.load import HostDescription
    from ectools.host.phrases import Schema


class OptionSchema(Protocol):
    """What this package needs of a loaded schema: its document, and the option path that the document describes."""

    @property
    def document(self) -> dict[str, Any]: ...
    @property
    def prefix(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class OptionProblem(Problem):
    """A bad value of an option, with what the option is for and where it is declared."""

    place: Place
    description: str | None = None
    declared_in: str | None = None

    def render(self) -> str:
        text = super().render()
        if self.description is not None:
            text += f"\n  option: {self.description}"
        if self.declared_in is not None:
            text += f"\n  declared in: {self.declared_in}"
        return text


PACKAGE_PATTERN = r"^(?:pkgs\.)?[a-zA-Z_][a-zA-Z0-9_'-]*(?:\.[a-zA-Z_][a-zA-Z0-9_'-]*)*$(?!\n)"
"""How a host description names a package: an attribute path in nixpkgs."""


def validate(description: HostDescription, schemas: Sequence[OptionSchema] | None = None) -> list[Problem]:
    """Everything that is wrong in ``description``, in the order of the file; empty where it is valid.

    The schemas are those of the project's modules where none are given.
    """
    schemas = load_known_schemas() if schemas is None else schemas
    checker = _Checker(description)
    remaining: dict[Place, OptionSchema] = {split_prefix(schema): schema for schema in schemas}
    checker.check_tree(description.root.value, (), remaining)
    checker.check_sayable(description.root.value, ())
    unique = {(problem.place, problem.message): problem for problem in checker.problems}
    return sorted(
        unique.values(), key=lambda problem: (problem.line or 0, problem.column or 0, problem.message)
    )


def split_prefix(schema: OptionSchema) -> tuple[str, ...]:
    """The names that lead from the host description's root to what the schema describes."""
    return tuple(schema.prefix.split(".")) if schema.prefix else ()


class _Checker:
    def __init__(self, description: HostDescription) -> None:
        self.description = description
        self.problems: list[OptionProblem] = []

    def add(
        self,
        place: Place,
        message: str,
        *,
        value: Any = UNSET,
        expected: str | None = None,
        hint: str | None = None,
        at_key: bool = False,
        option: Schema = True,
    ) -> None:
        root = self.description.root
        position = root.find_key(place) if at_key else root.find_position(place)
        about = option if isinstance(option, dict) else {}
        self.problems.append(
            OptionProblem(
                option=format_place(place),
                message=message,
                value=value,
                expected=expected,
                hint=hint,
                file=self.description.file,
                line=position.line if position else None,
                column=position.column if position else None,
                place=place,
                description=_first_sentence(about.get("description")),
                declared_in=find_declaration(about),
            )
        )

    def check_tree(self, value: Any, place: Place, schemas: Mapping[Place, OptionSchema]) -> None:
        """Walk down to each schema's prefix; a name that leads to none is an unknown option."""
        if place in schemas:
            self.check_options(value, place, schemas[place])
            return
        if not isinstance(value, dict):
            self.add(
                place, f"{show_value(value)} is {name_type(value)}", value=value, expected="a set of options"
            )
            return
        known = sorted({prefix[len(place)] for prefix in schemas if prefix[: len(place)] == place})
        for name, inner in value.items():
            if name in known:
                self.check_tree(inner, (*place, name), schemas)
            else:
                self.add_unknown((*place, name), [str(each) for each in known])

    def add_unknown(self, place: Place, known: Sequence[str]) -> None:
        name = str(place[-1])
        close = suggest(name, known)
        if close is not None:
            hint: str | None = f"did you mean {format_place((*place[:-1], close))}?"
        else:
            hint = "known here: " + ", ".join(known) if len(known) <= 12 else None
        self.add(place, "there is no such option", hint=hint, at_key=True)

    def check_options(self, value: Any, place: Place, schema: OptionSchema) -> None:
        document = _relax_packages(schema.document)
        for error in _Validator(document).iter_errors(value):
            self.explain(error, place, document)

    def explain(self, error: ValidationError, prefix: Place, document: dict[str, Any]) -> None:
        place = (*prefix, *error.absolute_path)
        failed: Any = error.schema
        schema = resolve(failed, document)
        option = find_option(document, tuple(error.absolute_path))
        value: Any = error.instance
        match error.validator:
            case "additionalProperties" | "unevaluatedProperties" if isinstance(schema, dict):
                known = sorted(schema.get("properties", {}))
                for name in value:
                    if name not in known:
                        self.add_unknown((*place, name), known)
            case "required":
                demanded: Any = error.validator_value
                missing = [name for name in demanded if name not in value]
                for name in missing:
                    inner = find_option(document, (*error.absolute_path, name))
                    message = "the option has no default and must be set"
                    self.add((*place, name), message, expected=describe(inner, document), option=inner)
            case "anyOf" | "oneOf" if (closest := _find_closest(error)) is not None:
                for inner_error in closest:
                    self.explain(inner_error, prefix, document)
            case _:
                self.add(
                    place,
                    _say_what(error),
                    value=value,
                    expected=describe(schema, document),
                    hint=_suggest_value(value, schema),
                    option=option,
                )

    def check_sayable(self, value: Any, place: Place) -> None:
        """Whatever no schema forbids and Nix has no words for: NUL in a string, an integer of more than 64 bits."""
        if isinstance(value, dict):
            for name, inner in value.items():
                try:
                    render({name: None})
                except RenderError as error:
                    self.add((*place, name), error.message, at_key=True)
                self.check_sayable(inner, (*place, name))
        elif isinstance(value, list):
            for index, inner in enumerate(value):
                self.check_sayable(inner, (*place, index))
        else:
            try:
                render(value)
            except RenderError as error:
                self.add(place, error.message, value=value)


def _say_what(error: ValidationError) -> str:
    value = error.instance
    shown = show_value(value)
    match error.validator:
        case "minimum" | "exclusiveMinimum":
            return f"{shown} is too small"
        case "maximum" | "exclusiveMaximum":
            return f"{shown} is too large"
        case "enum" | "const":
            return f"{shown} is not one of the allowed values"
        case "pattern":
            return f"{shown} does not have the form that is asked for"
        case "minItems" | "minLength":
            return f"{shown} is too short"
        case "uniqueItems":
            return f"{shown} holds a value twice"
        case "not":
            return f"{shown} is not allowed"
        case _:
            return f"{shown} is {name_type(value)}"


def _find_closest(error: ValidationError) -> list[ValidationError] | None:
    """The errors of the alternative that the value comes closest to; None where it is of none's type.

    Closest is the alternative whose errors lie deepest, then the one with the fewest: a set with one bad field is
    meant as that set, and never as the null that is also allowed.
    """
    branches: dict[Any, list[ValidationError]] = {}
    for inner in error.context or []:
        branches.setdefault(inner.schema_path[0], []).append(inner)
    fitting = [
        branch
        for branch in branches.values()
        if not any(inner.validator in {"type", "enum", "const"} and not inner.path for inner in branch)
    ]
    if not fitting:
        return None
    return min(fitting, key=len)


def find_option(document: dict[str, Any], place: Place) -> Schema:
    """The schema of the option at ``place`` below the document's prefix; ``True`` where there is none."""
    schema: Schema = resolve(document, document)
    for step in place:
        schema = _step(schema, step, document)
    return schema


def _step(schema: Schema, step: str | int, document: dict[str, Any]) -> Schema:
    schema = resolve(schema, document)
    if isinstance(schema, bool):
        return True
    if isinstance(step, str) and step in schema.get("properties", {}):
        return resolve(schema["properties"][step], document)
    keyword = "items" if isinstance(step, int) else "additionalProperties"
    if isinstance(schema.get(keyword), dict):
        return resolve(schema[keyword], document)
    for branch in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        found = _step(branch, step, document)
        if found is not True:
            return found
    return True


def find_declaration(option: Mapping[str, Any]) -> str | None:
    """``FILE`` or ``FILE:LINE`` of the option's declaration."""
    declarations = option.get("x-nix-declarations") or []
    if not declarations:
        return None
    first = declarations[0]
    if not isinstance(first, dict):
        return str(first)
    return f"{first.get('file')}:{first['line']}" if first.get("line") else str(first.get("file"))


def suggest(name: str, known: Iterable[str]) -> str | None:
    """The name that was probably meant: the same without regard to case, ``-`` and ``_``, or one that is close."""
    names = list(known)
    folded = {_fold(each): each for each in names}
    if _fold(name) in folded:
        return folded[_fold(name)]
    close = difflib.get_close_matches(_fold(name), folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else None


def _fold(name: str) -> str:
    return name.replace("-", "").replace("_", "").casefold()


def _suggest_value(value: Any, schema: Schema) -> str | None:
    if isinstance(value, str) and isinstance(schema, dict) and "enum" in schema:
        close = suggest(value, [each for each in schema["enum"] if isinstance(each, str)])
        return None if close is None else f"did you mean {show_value(close)}?"
    return None


def _first_sentence(text: Any) -> str | None:
    if not isinstance(text, str) or not text.strip():
        return None
    return " ".join(text.strip().split("\n\n")[0].split())


def _is_integer(_checker: object, value: object) -> bool:
    # Draft 2020-12 takes 1.0 for an integer; Nix does not.
    return isinstance(value, int) and not isinstance(value, bool)


_Validator = extend(  # type: ignore[no-untyped-call] # the stubs leave it untyped
    Draft202012Validator, type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer)
)


def _relax_packages(document: dict[str, Any]) -> dict[str, Any]:
    """The document for host descriptions: a package is named, where the settings hold its path in the store."""
    relaxed = _relax(document)
    assert isinstance(relaxed, dict)  # noqa: S101 - a dict stays one
    return relaxed


def _relax(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_relax(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if is_package(schema):
        return {**schema, "type": "string", "pattern": PACKAGE_PATTERN}
    return {
        key: value if key in {"default", "examples", "enum", "const"} else _relax(value)
        for key, value in schema.items()
    }
