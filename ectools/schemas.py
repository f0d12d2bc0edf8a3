"""Schemas as programs use them: find one, check a document against it, fill in its defaults.

Needs jsonschema and nothing else, because the programs that read settings run on machines without Nix. Other
than in the standard, ``integer`` means what Nix means by it: 1.0 is not one.
"""

from __future__ import annotations

import copy
import functools
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ectools.errors import InputError, Problem, ProblemsError
from ectools.names import resolve_reference, show_path
from ectools.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PACKAGE = Path(__file__).resolve().parent
DIALECTS = {
    "json-schema.org/draft/2020-12/schema": "2020-12",
    "json-schema.org/draft/2019-09/schema": "2019-09",
    "json-schema.org/draft-07/schema": "draft-07",
    "json-schema.org/draft-06/schema": "draft-06",
    "json-schema.org/draft-04/schema": "draft-04",
}
"""What ``$schema`` may say, without scheme and ``#``. A file that does not say it is of the first."""
_VALIDATORS = {
    "2020-12": "Draft202012Validator",
    "2019-09": "Draft201909Validator",
    "draft-07": "Draft7Validator",
    "draft-06": "Draft6Validator",
    "draft-04": "Draft4Validator",
}


@dataclass(frozen=True)
class Schema:
    """A JSON Schema document. ``prefix`` is the dotted path of the options it describes, or empty.

    ``dialect`` is one of ``DIALECTS``: what its keywords mean.
    """

    document: dict[str, Any]
    name: str
    prefix: str
    dialect: str = "2020-12"


def schemas_directory() -> Path:
    """The directory of the committed schemas: in the installed package, or beside it in a checkout."""
    installed = _PACKAGE / "_schemas"
    return installed if installed.is_dir() else _PACKAGE.parent / "schemas"


def schema_names() -> list[str]:
    """The names that load_schema knows, sorted."""
    return sorted(
        file.name.removesuffix(".schema.json") for file in schemas_directory().glob("*.schema.json")
    )


def load_schema(name_or_path: str | Path, *, checked: bool = True) -> Schema:
    """The schema of a module by its name (``ec-ipxe-qemu``), or any other by the path of its file.

    ``checked``: against the rules of the metaschema; a committed one was when it was made. Raises InputError:
    there is none of that name, or it cannot be read, or it is not a JSON Schema.
    """
    given = str(name_or_path)
    if isinstance(name_or_path, Path) or "/" in given or given.endswith(".json"):
        path, name = Path(name_or_path), Path(name_or_path).name.removesuffix(".json").removesuffix(".schema")
    else:
        path, name = schemas_directory() / f"{given}.schema.json", given
        if not path.is_file():
            names = f"the names are: {', '.join(schema_names()) or 'none'}"
            hint = "; ".join(part for part in (did_you_mean(given, schema_names()), names) if part)
            raise InputError(f"{given}: there is no schema of that name", hint=hint)
    document = parse_strictly(_read(path), path, where="")
    if not isinstance(document, dict):
        raise InputError(f"{path}: not a JSON Schema: it is no object")
    dialect = _find_dialect(path, document)
    if checked and path.parent != schemas_directory():
        document = _check_schema(path, document, dialect)
    return Schema(document, name, show_path(document.get("x-nix-path", ())), dialect)


def _find_dialect(path: Path, document: dict[str, Any]) -> str:
    said = document.get("$schema", next(iter(DIALECTS)))
    dialect = DIALECTS.get(re.sub(r"^https?://|#$", "", said)) if isinstance(said, str) else None
    if dialect is None:
        known = ", ".join(DIALECTS.values())
        raise InputError(
            f"{path}: $schema is {said!r}, which is not supported", hint=f"supported are: {known}"
        )
    return dialect


def _check_schema(path: Path, document: dict[str, Any], dialect: str) -> dict[str, Any]:
    """The schema with references that are pointers. Raises InputError where it is none, or one leads out."""
    from ectools.metaschema import find_schema_fault
    from ectools.schema_references import UnsupportedReferenceError, localize_references

    fault = find_schema_fault(document, dialect)
    if fault is not None:
        raise InputError(f"{path}: not a JSON Schema: {fault}")
    try:
        return localize_references(document, dialect)
    except UnsupportedReferenceError as error:
        hint = "put what it refers to into the file, below $defs"
        raise InputError(f"{path}: {error}", hint=hint) from error
    except RecursionError as error:
        raise InputError(f"{path}: is nested too deeply") from error


def validate_document(document: Any, schema: Schema, *, to_set: bool = False) -> list[Problem]:
    """Every way in which ``document`` does not fit the schema, in the document's order.

    ``to_set``: its values are to be set by somebody, who must not set a read-only option; else they are what
    a configuration came out as.
    """
    from ectools.explain import explain

    validator = _validator_class(schema.dialect, to_set=to_set)
    # Up to draft 7 a format is a rule, by common use; since then it is a note.
    formats = None if schema.dialect in ("2020-12", "2019-09") else _formats()
    errors = validator(schema.document, format_checker=formats).iter_errors(document)
    in_order = sorted(errors, key=lambda error: _position(error.absolute_path, document))
    return explain(in_order, schema.document, schema.prefix)


def _position(path: Iterable[str | int], document: Any) -> list[int]:
    position = []
    for step in path:
        position.append(step if isinstance(step, int) else list(document).index(step))
        document = document[step]
    return position


@functools.cache
def _validator_class(dialect: str = "2020-12", *, to_set: bool = False) -> Any:
    import jsonschema
    from jsonschema import ValidationError, validators

    base: Any = getattr(jsonschema, _VALIDATORS[dialect])

    def is_integer(_checker: object, value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool)

    def reject_read_only(_validator: Any, wanted: Any, _value: Any, schema: Any) -> Iterator[ValidationError]:
        # Of options alone: to JSON Schema the keyword is a note for whoever shows a form.
        if wanted is True and "x-nix-type" in schema:
            yield ValidationError("read-only")

    checker = base.TYPE_CHECKER.redefine("integer", is_integer)
    extend: Any = validators.extend  # its stub is untyped
    more = {"readOnly": reject_read_only} if to_set else {}
    return extend(base, more, type_checker=checker)


_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?:[!#$&-;=?-Z\[\]_a-z~]|%[0-9A-Fa-f]{2})*")
"""A URI by its scheme and the characters that it may have (RFC 3986, sections 2 and 3.1)."""


@functools.cache
def _formats() -> Any:
    """A checker of the formats that take no further library, so that the verdict is everywhere the same."""
    import jsonschema

    checker = jsonschema.FormatChecker(formats=("date", "email", "idn-email", "ipv4", "ipv6", "regex"))
    checker.checkers = dict(checker.checkers)

    @checker.checks("uri")
    def _is_uri(value: object) -> bool:
        return not isinstance(value, str) or _URI.fullmatch(value) is not None

    return checker


def check_settings(document: dict[str, Any], schema: Schema, *, where: str) -> dict[str, Any]:
    """``document`` with the defaults of what it lacks. Raises ProblemsError, which says ``where``."""
    problems = [*validate_document(document, schema), *_bad_texts(document, schema.prefix)]
    if problems:
        raise ProblemsError(f"{where}: {_count(problems)} in the settings", problems)
    return fill_defaults(document, schema)


def fill_defaults(document: dict[str, Any], schema: Schema) -> dict[str, Any]:
    """A document that fits the schema, with the defaults of what it lacks."""
    return _fill_object(copy.deepcopy(document), schema.document, schema.document)


def _count(problems: list[Problem]) -> str:
    return "1 problem" if len(problems) == 1 else f"{len(problems)} problems"


def _fill(value: Any, node: Any, root: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return _fill_object(value, node, root)
    if isinstance(value, list):
        items = _branch(value, node, root).get("items")
        return [_fill(item, items, root) for item in value] if isinstance(items, dict) else value
    return value


def _fill_object(value: dict[str, Any], node: Any, root: dict[str, Any]) -> dict[str, Any]:
    """``value``, with the defaults of the options that it lacks, at every depth."""
    node = _branch(value, node, root)
    properties: dict[str, Any] = node.get("properties", {})
    further = node.get("additionalProperties")
    for name, inner in value.items():
        value[name] = _fill(inner, properties.get(name, further), root)
    for name, option in properties.items():
        if name in value:
            continue
        if "default" in option:
            value[name] = _fill(copy.deepcopy(option["default"]), option, root)
        elif "properties" in option and "x-nix-type" not in option:
            value[name] = _fill({}, option, root)
    return value


def _branch(value: Any, node: Any, root: dict[str, Any]) -> dict[str, Any]:
    """The schema of what is inside ``value``: through references and the first alternative that fits."""
    while isinstance(node, dict):
        if "$ref" in node:
            node = resolve_reference(node["$ref"], root)
        elif "anyOf" in node:
            fits = (
                branch
                for branch in node["anyOf"]
                if _validator_class()({**branch, "$defs": root.get("$defs", {})}).is_valid(value)
            )
            node = next(fits, {})
        else:
            return node
    return {}


# --- JSON files ---------------------------------------------------------------------------------


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


def parse_strictly(raw: bytes, path: Path, *, where: str) -> Any:
    """The JSON value of a file, strictly. Raises ProblemsError; ``where`` names what the file is about."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        _reject(path, where, f"is not UTF-8: byte {error.start} is 0x{raw[error.start]:02x}", line=line)
    if text.startswith("\ufeff"):
        _reject(path, where, "starts with a byte order mark, which JSON does not have", line=1, column=1)
    try:
        return json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_integer,
        )
    except json.JSONDecodeError as error:
        _reject(path, where, f"is not JSON: {error.msg}", line=error.lineno, column=error.colno)
    except RecursionError:
        _reject_somewhere(path, where, "is nested too deeply", text)
    except ValueError as error:
        _reject_somewhere(path, where, str(error), text)


def _reject_somewhere(path: Path, where: str, message: str, text: str) -> NoReturn:
    """Reject what the fast parser does not tell the place of: the slow one does."""
    from ectools.documents.json_source import parse_json_source
    from ectools.documents.source_map import SyntaxProblem

    try:
        mapped = parse_json_source(text)
    except SyntaxProblem as problem:
        position = problem.position
    else:
        place = _find_large(mapped.value)
        position = None if place is None else mapped.find_position(place)
    if position is None:
        _reject(path, where, message)
    _reject(path, where, message, line=position.line, column=position.column)


def _find_large(value: Any) -> tuple[str | int, ...] | None:
    """The place of the first integer that ``_integer`` refuses."""
    if isinstance(value, int):
        return () if len(str(value)) > _MAX_DIGITS else None
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for step, each in entries:
        if (found := _find_large(each)) is not None:
            return (step, *found)
    return None


def _reject(
    path: Path, where: str, message: str, *, line: int | None = None, column: int | None = None
) -> NoReturn:
    problem = Problem(option=where or "document", message=message, file=str(path), line=line, column=column)
    raise ProblemsError(f"{path}: cannot be used", [problem])


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"has the key {json.dumps(double)} twice in one object")
    return result


def _no_constant(constant: str) -> NoReturn:
    raise ValueError(f"holds {constant}, which JSON does not have")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"holds {text}, which is more than a floating point number can be")
    return number


_MAX_DIGITS = 20
"""Of a 64 bit integer, with its sign."""


def _integer(text: str) -> int:
    # Python refuses to read integers of more than 4,300 digits, in words that help nobody.
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"holds {text[:20]}…, which is more than a 64 bit integer can be")
    return int(text)


def _bad_texts(value: Any, path: str) -> Iterator[Problem]:
    """Strings that neither Nix nor an argument list can carry."""
    if isinstance(value, str):
        if "\0" in value:
            yield Problem(
                option=path, message="holds a NUL character", value=value, expected="text without NUL"
            )
        elif not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
            yield Problem(
                option=path, message="holds half of a surrogate pair", expected="text that UTF-8 can carry"
            )
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _bad_texts(item, show_path((index,), path))
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _bad_texts(name, show_path((name,), path))
            yield from _bad_texts(item, show_path((name,), path))
