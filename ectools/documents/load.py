"""A file → a host description."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, assert_never

from ectools.documents.source_map import Position, SyntaxProblem
from ectools.errors import InputError
from ectools.files import read_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ectools.documents.source_map import Place, SourceMapped


class HostFormat(StrEnum):
    """The formats of a host description."""

    JSON = "json"
    TOML = "toml"
    YAML = "yaml"


MAX_VALUE_DEPTH = 50
"""How deep options may lie: far deeper than they do, and so that walking a schema beside them is safe."""

SCHEMA_KEY = "$schema"
"""What names the schema of a description in the description itself, for editors."""

FORMAT_SUFFIXES = {
    ".json": HostFormat.JSON,
    ".toml": HostFormat.TOML,
    ".yaml": HostFormat.YAML,
    ".yml": HostFormat.YAML,
}


@dataclass(frozen=True)
class HostDescription:
    """The options of a host as one tree, ``{"services": {"every-channel": {…}}}``, and their file.

    ``editor_schema`` is what its key ``$schema`` said, which is not in the tree; None where it had none.
    """

    file: str
    root: SourceMapped
    editor_schema: str | None = None


def load_host(path: Path) -> HostDescription:
    """Read a host description; its format is its suffix's.

    Raises FileError where the file cannot be read, InputError for another suffix, and ProblemsError with the
    line and column of what is not JSON, YAML or TOML, or is a trap of that format.
    """
    form = find_format(path)
    return parse_host(read_bytes(path), file=str(path), form=form)


def parse_host(data: bytes, *, file: str, form: HostFormat) -> HostDescription:
    """A host description from ``data``, which errors call ``file``. Raises ProblemsError."""
    mapped = parse_value(data, file=file, form=form)
    editor_schema = leave_out_schema_key(mapped.value)
    if not isinstance(mapped.value, dict):
        position = mapped.find_position(()) or Position(1, 1)
        raise SyntaxProblem("a host description is a table of options", position).as_error(file)
    place = _find_too_deep(mapped.value)
    if place is not None:
        message = f"nested deeper than {MAX_VALUE_DEPTH} levels"
        raise SyntaxProblem(message, mapped.find_position(place), place=place).as_error(file)
    return HostDescription(file, mapped, editor_schema)


def leave_out_schema_key(value: Any) -> str | None:
    """What names the description's schema for an editor, taken out of it: it is none of its options."""
    if isinstance(value, dict) and isinstance(value.get(SCHEMA_KEY), str):
        return str(value.pop(SCHEMA_KEY))
    return None


def _find_too_deep(value: Any) -> Place | None:
    """The first value that lies deeper than options do."""
    waiting: list[tuple[Place, Any]] = [((), value)]
    while waiting:
        place, inner = waiting.pop()
        if isinstance(inner, (dict, list)):
            if len(place) >= MAX_VALUE_DEPTH:
                return place
            entries = inner.items() if isinstance(inner, dict) else enumerate(inner)
            waiting.extend(((*place, step), each) for step, each in entries)
    return None


def load_value(path: Path) -> Any:
    """Any value from a JSON, YAML or TOML file. Raises what ``load_host`` does."""
    form = find_format(path)
    return parse_value(read_bytes(path), file=str(path), form=form).value


def find_format(path: Path) -> HostFormat:
    """The format that a file's name says. Raises InputError for another."""
    form = FORMAT_SUFFIXES.get(path.suffix.lower())
    if form is None:
        known = ", ".join(f"*{suffix}" for suffix in FORMAT_SUFFIXES)
        raise InputError(f"{path}: the format is not known", hint=f"name it {known}")
    return form


def parse_value(data: bytes, *, file: str, form: HostFormat) -> SourceMapped:
    """A file's value, of whatever type. Raises ProblemsError."""
    try:
        return _find_parser(form)(_decode(data))
    except SyntaxProblem as problem:
        raise problem.as_error(file) from None


def _find_parser(form: HostFormat) -> Callable[[str], SourceMapped]:
    # Each is imported when it is needed: a command that checks TOML must not wait for YAML.
    match form:
        case HostFormat.JSON:
            from ectools.documents.json_source import parse_json_source as parser
        case HostFormat.TOML:
            from ectools.documents.toml_source import parse_toml as parser
        case HostFormat.YAML:
            from ectools.documents.yaml_source import parse_yaml as parser
        case _:
            assert_never(form)
    return parser


def _decode(data: bytes) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        position = Position(before.count(b"\n") + 1, column)
        raise SyntaxProblem(f"byte 0x{data[error.start]:02x} is not UTF-8", position) from None
    return text.removeprefix("\ufeff")
