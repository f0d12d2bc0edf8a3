"""Types of host descriptions for programs, in Python or TypeScript, as others' generators make them.

A program that writes or reads descriptions is then checked by mypy or pyright, or by tsc.

* Python: datamodel-code-generator (PyPI, 0.57 or newer): ``TypedDict``, at run time a plain ``dict``.
* TypeScript: json-schema-to-typescript (npm): interfaces, with the descriptions as comments.

A type says less than the schema: ranges and patterns are no types. In Python a mapping with names of its own
and further ones is ``dict[str, Any]``, because a ``TypedDict`` has no further ones.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never

from ectools import processes
from ectools.host.editor_schema import build_editor_schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ectools.schemas import Schema

_BANNER = "Written by `ectools schema types`. Change the schema, and run it again."
_SECONDS = 1800.0  # of all of NixOS it takes minutes
_NAMED = ("properties", "definitions", "$defs", "patternProperties")
_VALUES = ("const", "default", "enum", "examples")


class TypesLanguage(StrEnum):
    """The languages that there are types in."""

    PYTHON = "python"
    TYPESCRIPT = "typescript"


def generate_types(
    schemas: Sequence[Schema], language: TypesLanguage, *, generator_arguments: Sequence[str] = ()
) -> str:
    """The text of a file of types. ``generator_arguments`` are added to the generator's own.

    A schema that stands at no option's path, and comes alone, is taken as it is; others become a whole host
    description. Raises InputError where schemas are of several dialects, ProgramMissingError, and
    ProcessError with the generator's own words.
    """
    if len(schemas) == 1 and "x-nix-path" not in schemas[0].document:
        document = schemas[0].document
    else:
        document = build_editor_schema(schemas)
    match language:
        case TypesLanguage.PYTHON:
            argv = _find_python_generator()
            document = _without_further_names(document)
        case TypesLanguage.TYPESCRIPT:
            argv = _find_typescript_generator()
        case _:
            assert_never(language)
    return processes.run([*argv, *generator_arguments], stdin=json.dumps(document), timeout=_SECONDS).stdout


def _without_further_names(schema: Any) -> Any:
    """A copy in which a mapping that declares names, and says what others hold, is any mapping."""
    if isinstance(schema, list):
        return [_without_further_names(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    is_open = "properties" in schema and schema.get("additionalProperties", False) is not False
    copied: dict[str, Any] = {"type": "object"} if is_open else {}
    for keyword, value in schema.items():
        if keyword in _VALUES:
            copied[keyword] = value
        elif keyword in _NAMED and isinstance(value, dict):
            if not (is_open and keyword == "properties"):
                copied[keyword] = {name: _without_further_names(inner) for name, inner in value.items()}
        elif not (is_open and keyword in ("required", "additionalProperties")):
            copied[keyword] = _without_further_names(value)
    return copied


def _find_typescript_generator() -> list[str]:
    """The generator with its arguments: a schema from standard input, types to standard output."""
    local = Path("node_modules/.bin").resolve()  # where npx looks too
    program = shutil.which("json2ts") or shutil.which("json2ts", path=str(local))
    if program is None:
        raise processes.ProgramMissingError(
            "json2ts: program not found",
            argv=["json2ts"],
            hint="install json-schema-to-typescript from npm; it is looked for on PATH and in ./node_modules",
        )
    return [program, f"--bannerComment=/* {_BANNER} */"]


def _find_python_generator() -> list[str]:
    """As ``_find_typescript_generator``."""
    found = shutil.which("datamodel-codegen")
    if found is not None:
        program = [found]
    elif importlib.util.find_spec("datamodel_code_generator") is not None:
        program = [sys.executable, "-m", "datamodel_code_generator"]
    else:
        raise processes.ProgramMissingError(
            "datamodel-codegen: program not found",
            argv=["datamodel-codegen"],
            hint="install datamodel-code-generator>=0.57 from PyPI; it is looked for on PATH and among the "
            "modules of this Python",
        )
    return [
        *program,
        "--input-file-type=jsonschema",
        "--output-model-type=typing.TypedDict",
        "--target-python-version=3.11",
        "--use-title-as-name",
        # Closed ones (PEP 728) are not in typing yet; an unknown key is an error in these too.
        "--no-use-closed-typed-dict",
        "--no-treat-dot-as-module",
        "--use-standard-collections",
        "--use-union-operator",
        "--enum-field-as-literal=all",
        "--no-allow-remote-refs",
        "--disable-timestamp",
        f"--custom-file-header=# {_BANNER}",
    ]
