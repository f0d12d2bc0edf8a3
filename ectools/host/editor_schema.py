"""The schema of a whole host description for editors: one file of their dialect, in plain words.

yaml-language-server, taplo and most other language servers know draft-07 best, where what stands beside a
``$ref`` counts for nothing, and none of them knows a keyword of ours. What those say that a reader wants to
see, the type and a default that is no data, goes into the description.
"""

from __future__ import annotations

import json
import re
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from ectools.documents.load import SCHEMA_KEY
from ectools.host.combined_schema import build_combined_schema
from ectools.schemas import DIALECTS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ectools.schemas import Schema

HOST_DOCUMENT_NAME = "host"
"""What that of this project's modules is called: ``host.document.json``, beside their schemas."""
_PUBLISHED = "https://git.every.channel/every-channel/every.channel/raw/branch/main/schemas"
HOST_DOCUMENT_URL = f"{_PUBLISHED}/{HOST_DOCUMENT_NAME}.document.json"
"""Its ``$id``: where the newest is."""

_ROLE = re.compile(r"\{[a-z]+\}(?=`)")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_NAMED = ("properties", "$defs")
_LISTS = ("anyOf", "allOf", "oneOf", "prefixItems")
_SINGLE = ("additionalProperties", "items", "not")
_DEFINITION = "#/$defs/"
_LEFT_OUT = ("$schema", "$id", "$defs", "title")


class EditorDialect(StrEnum):
    """The dialects of JSON Schema that the document can be written in."""

    DRAFT_07 = "draft-07"
    DRAFT_2020_12 = "2020-12"

    @property
    def url(self) -> str:
        """What ``$schema`` says."""
        address = next(address for address, name in DIALECTS.items() if name == self)
        return f"http://{address}#" if self is EditorDialect.DRAFT_07 else f"https://{address}"


def build_editor_schema(
    schemas: Iterable[Schema],
    *,
    identifier: str | None = None,
    dialect: EditorDialect = EditorDialect.DRAFT_07,
    is_open: bool = False,
) -> dict[str, Any]:
    """The document of modules whose options differ. ``identifier`` is its ``$id``, an absolute URI.

    ``is_open``: there are further modules, so outside of these schemas any name may stand. Raises InputError
    where the schemas are of several dialects of JSON Schema.
    """
    combined = build_combined_schema(schemas, is_open=is_open).document
    writer = _Writer(combined.get("$defs", {}), dialect)
    root = writer.write({key: value for key, value in combined.items() if key not in _LEFT_OUT})
    if "properties" in root:
        root["properties"] = {SCHEMA_KEY: {"type": "string", "format": "uri-reference"}, **root["properties"]}
    definitions = {name: writer.write(combined["$defs"][given]) for given, name in writer.names.items()}
    return {
        "$schema": dialect.url,
        **({} if identifier is None else {"$id": identifier}),
        "title": "Host description",
        **root,
        **({writer.holder: definitions} if definitions else {}),
    }


def render_editor_schema(document: dict[str, Any]) -> bytes:
    """The text of the file."""
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


class _Writer:
    """Copies schemas, and gives definitions names that need no escape in a reference."""

    def __init__(self, definitions: dict[str, Any], dialect: EditorDialect) -> None:
        self.is_draft_07 = dialect is EditorDialect.DRAFT_07
        self.holder = "definitions" if self.is_draft_07 else "$defs"
        self.names: dict[str, str] = {}
        taken: set[str] = set()
        for given in definitions:
            base = name = _UNSAFE.sub("-", re.sub("[<>]", "", given)).strip("-")
            number = 2
            while name in taken:
                name, number = f"{base}-{number}", number + 1
            taken.add(name)
            self.names[given] = name

    def write(self, schema: Any) -> Any:
        """A schema of the dialect, without keywords of ours."""
        if not isinstance(schema, dict):
            return schema
        written: dict[str, Any] = {}
        for keyword, value in schema.items():
            if keyword.startswith("x-nix-"):
                continue
            if keyword in _NAMED:
                written[keyword] = {name: self.write(each) for name, each in value.items()}
            elif keyword in _LISTS:
                written[keyword] = [self.write(each) for each in value]
            else:
                written[keyword] = self.write(value) if keyword in _SINGLE else value
        if "x-nix-type" in schema:
            written["description"] = _describe(schema)
        if "$ref" in written:
            reference = written.pop("$ref")
            target = {"$ref": self._rename(reference)}
            if not (written and self.is_draft_07):
                return {**target, **written}
            written["allOf"] = [target, *written.get("allOf", ())]
        return written

    def _rename(self, reference: str) -> str:
        if not reference.startswith(_DEFINITION):
            return reference
        step, slash, below = reference.removeprefix(_DEFINITION).partition("/")
        given = unquote(step).replace("~1", "/").replace("~0", "~")
        return f"#/{self.holder}/{self.names[given]}{slash}{below}"


def _describe(option: dict[str, Any]) -> str:
    """What an option is for, its type, and its default in words where it is no data."""
    text = _ROLE.sub("", option.get("description", "")).strip()
    lines = [f"Type: {option['x-nix-type']}"]
    default = option.get("x-nix-default-text", option.get("x-nix-default-markdown"))
    if default is not None:
        lines.append(f"Default: {_ROLE.sub('', ' '.join(default.split()))}")
    return "\n\n".join(filter(None, (text, *lines)))
