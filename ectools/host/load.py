"""A file → a host description."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from ectools.errors import InputError
from ectools.files import read_bytes
from ectools.host.json_source import parse_json
from ectools.host.located import Position, SyntaxProblem
from ectools.host.toml_source import parse_toml
from ectools.host.yaml_source import parse_yaml

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ectools.host.located import Located


class Format(StrEnum):
    """The formats of a host description."""

    JSON = "json"
    TOML = "toml"
    YAML = "yaml"


_SUFFIXES = {".json": Format.JSON, ".toml": Format.TOML, ".yaml": Format.YAML, ".yml": Format.YAML}
_PARSERS: dict[Format, Callable[[str], Located]] = {
    Format.JSON: parse_json,
    Format.TOML: parse_toml,
    Format.YAML: parse_yaml,
}


@dataclass(frozen=True)
class HostDescription:
    """The options of a host as one tree, ``{"services": {"every-channel": {…}}}``, and their file."""

    file: str
    root: Located


def load(path: Path) -> HostDescription:
    """Read a host description; its format is its suffix's.

    Raises FileError where the file cannot be read, InputError for another suffix, and ProblemsError with the
    line and column of what is not JSON, YAML or TOML, or is a trap of that format.
    """
    form = _SUFFIXES.get(path.suffix.lower())
    if form is None:
        raise InputError(
            f"{path}: the format is not known", hint=f"name it {', '.join(f'*{each}' for each in _SUFFIXES)}"
        )
    return parse(read_bytes(path), file=str(path), form=form)


def parse(data: bytes, *, file: str, form: Format) -> HostDescription:
    """A host description from ``data``, which errors call ``file``. Raises ProblemsError as ``load`` does."""
    try:
        text = _decode(data)
        located = _PARSERS[form](text)
        if not isinstance(located.value, dict):
            raise SyntaxProblem(
                "a host description is a table of options", located.find_position(()) or Position(1, 1)
            )
    except SyntaxProblem as problem:
        raise problem.as_error(file) from None
    return HostDescription(file, located)


def _decode(data: bytes) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        position = Position(before.count(b"\n") + 1, column)
        raise SyntaxProblem(f"byte 0x{data[error.start]:02x} is not UTF-8", position) from None
    return text.removeprefix("\ufeff")
