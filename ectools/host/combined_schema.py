"""The schemas of several modules as one schema of a host description.

A module's schema describes the value at its option path (``x-nix-path``); here it is hung up at that path in
one document, so that one validation sees the whole file. One thing differs from the settings that a unit
reads: a package, which there is its path in the store, is named here (``pkgs.qemu_kvm`` or ``qemu_kvm``).
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ectools.errors import InputError
from ectools.names import quote_step, resolve_reference
from ectools.schemas import Schema, load_schema, schema_names
from ectools.settings_file import PACKAGE_PATTERN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ectools.documents.source_map import Place

_STORE_PATH = "^/nix/store/[0-9abcdf"
"""What the pattern of a package starts with in a module's schema (``ectools.options.types.STORE_PATH``)."""

_PACKAGE = {"type": "string", "pattern": PACKAGE_PATTERN}
_NAMED = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})
_HOLDERS = (dict, list)
_VALUES = frozenset(
    {
        "default",
        "examples",
        "enum",
        "const",
        "x-nix-path",
        "x-nix-declarations",
        "x-nix-empty",
        "x-nix-modules",
    }
)


@functools.cache
def load_combined_schema() -> Schema:
    """What a host description may say of this project's modules."""
    return build_combined_schema(load_schema(name) for name in schema_names())


def build_combined_schema(schemas: Iterable[Schema], *, is_open: bool = False) -> Schema:
    """One schema of host descriptions from the schemas of modules, whose options must differ.

    ``is_open``: there are further modules, so outside of these schemas any name may stand.
    Raises InputError where they are of several dialects.
    """
    document: dict[str, Any] = {"type": "object"}
    definitions: dict[str, Any] = {}
    schemas = list(schemas)
    dialects = {schema.dialect: schema.name for schema in schemas} or {"2020-12": ""}
    if len(dialects) > 1:
        found = ", ".join(f"{name} is of {dialect}" for dialect, name in dialects.items())
        raise InputError(f"the schemas are of several dialects of JSON Schema: {found}")
    for schema in schemas:
        path = schema.document.get("x-nix-path", [])
        base = "#" + "".join(f"/properties/{quote_step(step)}" for step in path)
        adapted = _adapt(schema.document, _Naming(schema.name, base))
        # Inside a document jsonschema takes it for a change of dialect, and forgets what an integer is here.
        adapted.pop("$schema", None)
        # Nor is it a document of its own any more.
        adapted.pop("$id", None)
        adapted.pop("id", None) if schema.dialect == "draft-04" else None
        definitions |= {f"{schema.name}:{name}": inner for name, inner in adapted.pop("$defs", {}).items()}
        if not path:
            # It is the root itself, which may refer to itself.
            document.pop("type", None)
        node = document
        for step in path:
            if not is_open:
                node["additionalProperties"] = False
            node = node.setdefault("properties", {}).setdefault(step, {"type": "object"})
        _join(node, adapted)
    return Schema({**document, "$defs": definitions}, "host", "", next(iter(dialects)))


def _join(group: dict[str, Any], added: dict[str, Any]) -> None:
    """Add a schema to a group. Names of both are groups, in which two modules have options side by side."""
    before = group.get("properties", {})
    properties = added.get("properties", {})
    both = {name: before[name] for name in before if name in properties}
    closed = [each.get("additionalProperties", True) for each in (group, added) if "properties" in each]
    group |= added
    if before:
        group["properties"] = {**before, **properties}
        for name, inner in both.items():
            group["properties"][name] = joined = dict(inner)
            _join(joined, properties[name])
        if not all(value is False for value in closed):
            group.pop("additionalProperties", None)


@dataclass(frozen=True)
class _Naming:
    """Where the references of one schema lead in the combined one: its name, and the pointer to its root."""

    name: str
    base: str

    def rename(self, reference: str) -> str:
        if reference.startswith("#/$defs/"):
            return reference.replace("#/$defs/", f"#/$defs/{self.name}:")
        return self.base + reference[1:] if reference == "#" or reference.startswith("#/") else reference


def _adapt(schema: Any, name: _Naming) -> Any:
    """A copy in which packages are named, and references reach what they did."""
    if type(schema) is list:
        return [_adapt(each, name) for each in schema]
    if type(schema) is not dict:
        return schema
    if "pattern" in schema and str(schema["pattern"]).startswith(_STORE_PATH):
        return {**schema, **_PACKAGE}
    adapted = {}
    for key, value in schema.items():
        if type(value) not in _HOLDERS or key in _VALUES:
            adapted[key] = value
        elif key in _NAMED and type(value) is dict:
            # Here a name is an option's, whatever keyword it looks like.
            adapted[key] = {option: _adapt(each, name) for option, each in value.items()}
        else:
            adapted[key] = _adapt(value, name)
    if "$ref" in adapted:
        adapted["$ref"] = name.rename(adapted["$ref"])
    return adapted


def is_package(option: Any) -> bool:
    """Whether the schema of a host description asks for a package here."""
    return isinstance(option, dict) and option.get("pattern") == PACKAGE_PATTERN


def find_option(document: dict[str, Any], place: Place) -> dict[str, Any]:
    """The schema at ``place``, through references and alternatives; empty where nothing is said."""
    schema: Any = document
    for step in place:
        schema = _step(schema, step, document)
    return follow_path(schema, document)


def follow_path(schema: Any, document: dict[str, Any]) -> dict[str, Any]:
    """The schema that a reference stands for; what stands beside the reference is kept."""
    while isinstance(schema, dict) and "$ref" in schema:
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        schema = {**resolve_reference(schema["$ref"], document), **beside}
    return schema if isinstance(schema, dict) else {}


def _step(schema: Any, step: str | int, document: dict[str, Any]) -> Any:
    schema = follow_path(schema, document)
    if isinstance(step, str) and step in schema.get("properties", {}):
        return schema["properties"][step]
    inner = schema.get("items" if isinstance(step, int) else "additionalProperties")
    if isinstance(inner, dict):
        return inner
    found = (_step(branch, step, document) for branch in (*schema.get("anyOf", ()), *schema.get("allOf", ())))
    return next((each for each in found if each), {})


_ROLE = re.compile(r"\{[a-z]+\}(?=`)")


def describe_option(option: dict[str, Any]) -> str | None:
    """The first paragraph of the option's description, on one line, without NixOS's Markdown roles."""
    paragraph = str(option.get("description", "")).strip().split("\n\n")[0]
    return _ROLE.sub("", " ".join(paragraph.split())) or None


def find_declaration(option: dict[str, Any]) -> str | None:
    """``FILE`` or ``FILE:LINE`` where the option is declared."""
    declarations = option.get("x-nix-declarations", [])
    return str(declarations[0]).replace("#L", ":") if declarations else None
