"""Types of options as ``nix/lib/types.nix`` describes them, and a converter of nothing but types."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator

from ectools.options.types import TypeConverter

INT = {"name": "int", "description": "signed integer"}
STR = {"name": "str", "description": "string"}
BOOL = {"name": "bool", "description": "boolean"}
FLOAT = {"name": "float", "description": "floating point number"}
PATH = {"name": "path", "description": "absolute path", "path": {"absolute": True, "inStore": None}}
ANY_INTEGER = {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}
LISTS = {"name": "listOf", "description": "list of string", "elem": STR}
SETS = {"name": "attrsOf", "description": "attribute set of string", "elem": STR}


def group_schema(options: list[dict[str, Any]], converter: TypeConverter, loc: tuple[str, ...]) -> Any:
    """An object of options, with what each takes: as export.py makes it, without the rest."""
    properties: dict[str, Any] = {}
    for option in options:
        *above, name = option["path"]
        here = properties
        for group in above:
            here = here.setdefault(group, {"type": "object", "properties": {}, "additionalProperties": False})
            here = here["properties"]
        here[name] = {**converter.convert(option["type"], (*loc, *option["path"])), "x-nix-type": "t"}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def make_converter(*, output: bool = False) -> TypeConverter:
    converter = TypeConverter(lambda options, loc: group_schema(options, converter, loc), output=output)
    return converter


def convert(node: dict[str, Any], *, output: bool = False) -> Any:
    converter = make_converter(output=output)
    schema = converter.convert(node, ("x",))
    if converter.defs:
        Draft202012Validator.check_schema({**schema, "$defs": converter.defs})
    return schema


def either(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    return {"name": "either", "description": "either", "left": left, "right": right}


def coerced(source: dict[str, Any], to: dict[str, Any]) -> dict[str, Any]:
    return {"name": "coercedTo", "description": "coerced", "from": source, "to": to}


def null_or(elem: dict[str, Any]) -> dict[str, Any]:
    return {"name": "nullOr", "description": f"null or {elem['description']}", "elem": elem}


def submodule(*names: str, **more: Any) -> dict[str, Any]:
    options = [{"path": name.split("."), "type": STR} for name in names]
    return {"name": "submodule", "description": "submodule", "options": options, **more}


def accepts(node: dict[str, Any], value: Any) -> bool:
    converter = make_converter()
    schema = converter.convert(node, ("x",))
    return bool(Draft202012Validator({**schema, "$defs": converter.defs}).is_valid(value))
