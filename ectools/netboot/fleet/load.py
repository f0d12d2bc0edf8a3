"""The fleet file → a part of the fleet, checked by the module's own schema, with lines and columns.

A file has ``unknown``, ``groups`` and ``nodes`` at its top. What the boot server's settings say beside it
(their ``fleet``) comes as a part that is built already.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ectools.documents.load import HostFormat, find_format, parse_value
from ectools.documents.located import locate_problems
from ectools.errors import InputError, ProblemsError
from ectools.files import FileError, read_input
from ectools.names import show_path
from ectools.netboot.fleet.build import FleetPart, build_part, join_parts
from ectools.parsing import Problems
from ectools.schemas import Schema, load_schema, parse_strictly, validate_document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from ectools.errors import Problem
    from ectools.netboot.fleet.model import Fleet

_SCHEMA = "ec-netboot"
FLEET = "fleet"
"""What the options of a fleet file are called by in messages: ``fleet.nodes.nuc-07``."""
KEYS = ("unknown", "groups", "nodes")
"""What stands at the top of a fleet file."""
_MAX_BYTES = 256 << 20


@dataclass(frozen=True)
class FleetFile:
    """A file that was read: ``part`` is what it says, ``raw`` its content."""

    path: Path
    raw: bytes
    form: HostFormat
    part: FleetPart

    def error(self) -> ProblemsError | None:
        """What is wrong with it, with places; None where nothing is."""
        found = self.part.problems.found
        return _build_error(found, self.raw, self.path, self.form) if found else None


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """No collection of cycles within the block: of a hundred thousand nodes each one walks all that was
    read so far, and finds nothing. It is half of the time that TOML takes.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


@_uncollected()
def load_whole(part: FleetPart, path: Path | None) -> Fleet:
    """The fleet of the options and of the fleet file. Raises as ``load_fleet``."""
    if path is None:
        return join_parts([part])
    file = read_fleet_file(path)
    part.problems.found.clear()
    fleet = join_parts([part, file.part])
    if (error := file.error()) is not None:
        raise error
    if part.problems.found:
        raise part.problems.error(part.where)
    return fleet


@_uncollected()
def load_fleet(path: Path) -> Fleet:
    """The fleet of one file. Raises InputError: it cannot be read; ProblemsError with all that is wrong."""
    file = read_fleet_file(path, is_whole=True)
    fleet = join_parts([file.part])
    if (error := file.error()) is not None:
        raise error
    return fleet


def read_fleet_file(path: Path, *, is_whole: bool = False) -> FleetFile:
    """What one file says by itself. Raises InputError, and ProblemsError where its form is not a fleet's.

    ``is_whole``: nothing else says anything of this fleet.
    """
    try:
        raw = read_input(path, limit=_MAX_BYTES)
    except FileError as error:
        raise InputError(error.message) from error
    form = find_format(path)
    document = (
        parse_strictly(raw, path, where=FLEET)
        if form is HostFormat.JSON
        else parse_value(raw, file=str(path), form=form).value
    )
    problems = [] if accepts(document) else validate_document(document, load_fleet_schema())
    if problems:
        problems += _find_further(document, problems, where=str(path), is_whole=is_whole)
        raise _build_error(problems, raw, path, form)
    part = build_part(document, Problems(FLEET), where=str(path))
    return FleetFile(path, raw, form, part)


def _build_error(problems: Sequence[Problem], raw: bytes, path: Path, form: HostFormat) -> ProblemsError:
    """The problems of a file, each with its place, in the order of the file."""
    mapped = parse_value(raw, file=str(path), form=form)
    located = locate_problems(problems, mapped, file=str(path), start=FLEET)
    located.sort(key=lambda each: (each.line or 0, each.column or 0))
    count = "1 problem" if len(located) == 1 else f"{len(located)} problems"
    return ProblemsError(f"{path}: {count} in the fleet", located)


def _find_further(
    document: Any, problems: Sequence[Problem], *, where: str, is_whole: bool
) -> Sequence[Problem]:
    """What else is wrong with such a document: with the groups and nodes in it that the schema takes.

    A group that it does not take is still one that nodes may name.
    """
    entries = {kind: document.get(kind) for kind in ("groups", "nodes")} if isinstance(document, dict) else {}
    if not all(isinstance(each, dict) for each in entries.values() if each is not None):
        return ()
    wrong = {start for each in problems for start in _list_starts(each.option)}
    sound: dict[str, Any] = {kind: {} for kind in entries}
    for kind, each in entries.items():
        for name, value in (each or {}).items():
            if show_path((kind, name), FLEET) not in wrong:
                sound[kind][name] = value
            elif kind == "groups":
                sound[kind][name] = {}
    part = build_part(sound, Problems(FLEET), where=where)
    join_parts([part], is_whole=is_whole)
    return part.problems.found


def _list_starts(option: str) -> Iterator[str]:
    """An option, and what it is in."""
    yield from (option[: found.start()] for found in re.finditer(r"[.\[]", option))
    yield option


@functools.cache
def load_fleet_schema() -> Schema:
    """The schema of a fleet file: the module's, of what may stand there."""
    whole = load_schema(_SCHEMA)
    fleet = whole.document["properties"][FLEET]
    properties = {name: fleet["properties"][name] for name in KEYS}
    document = {**fleet, "properties": properties, "$defs": whole.document.get("$defs", {})}
    document["required"] = [name for name in fleet.get("required", ()) if name in KEYS]
    return replace(whole, document=document, prefix=FLEET, name=FLEET)


def accepts(document: Any) -> bool:
    """Whether the schema takes a document for certain, without saying why not.

    A compiled check: of a hundred thousand nodes, one that explains itself takes minutes. Where
    fastjsonschema is not installed (not every package set has it), that one decides.
    """
    try:
        import fastjsonschema
    except ImportError:
        return False
    try:
        _compile()(document)
    except fastjsonschema.JsonSchemaException:
        return False
    return True


@functools.cache
def _compile() -> Callable[[Any], object]:
    import fastjsonschema

    document = _put_null_last(load_fleet_schema().document)
    check: Callable[[Any], object] = fastjsonschema.compile(document, use_default=False)
    return check


def _put_null_last(schema: Any) -> Any:
    """The schema with each ``anyOf``'s null behind the others: their order says nothing, and the compiled
    check raises and catches an exception for each one that it tries before the one that fits.
    """
    if isinstance(schema, list):
        return [_put_null_last(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _put_null_last(value) for key, value in schema.items()}
    if isinstance(found.get("anyOf"), list):
        found["anyOf"].sort(key=lambda each: each == {"type": "null"})
    return found
