"""An option type, as ``nix/lib/types.nix`` describes it, as JSON Schema 2020-12.

Every union is an ``anyOf``: in a ``oneOf`` a value that two branches accept would be rejected. What a schema
cannot express is marked ``x-nix-unrepresentable`` with the reason, and accepts too much rather than too
little.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from ectools.names import JsonSchema, reference_to, resolve_reference
from ectools.options.dump import decode_value
from ectools.options.patterns import PatternError, anchored

if TYPE_CHECKING:
    from collections.abc import Callable

TypeNode = dict[str, Any]

LEAST, GREATEST = -(2**63), 2**63 - 1
UNREPRESENTABLE = "x-nix-unrepresentable"
UNREACHABLE = "x-nix-unreachable"
COERCED = "x-nix-coerced"
# A top-level store path, as Nix itself parses them (nix's path.cc).
STORE_PATH = r"^/nix/store/[0-9abcdfghijklmnpqrsvwxyz]{32}-[0-9A-Za-z+._?=-]+$(?!\n)"
# lib.path.hasStorePathPrefix, which makes a path of the string first and so takes relative ones too.
IN_STORE = r"^(?:\.{0,2}/)*nix/(?:\.?/)*store/(?:\.?/)*[^/]{32}-[^/]"
_ABSOLUTE = "^/"
_NOT_ABSOLUTE = {"pattern": "^(?!/)"}
_ANY_INTEGER: JsonSchema = {"type": "integer", "minimum": LEAST, "maximum": GREATEST}
_FURTHER_CHECK = "a further check of the value"

_PLAIN: dict[str, JsonSchema] = {
    "anything": {},
    "attrs": {"type": "object"},
    "bool": {"type": "boolean"},
    "boolByOr": {"type": "boolean"},
    "commas": {"type": "string"},
    "deferredModule": {"anyOf": [{"type": "object"}, {"type": "string", "pattern": _ABSOLUTE}]},
    "envVar": {"type": "string"},
    "float": {"type": "number", "x-nix-float": True},
    "json": {},
    "lines": {"type": "string"},
    "nonEmptyStr": {"type": "string", "pattern": r"[^ \t\n]"},
    "number": {"type": "number"},
    "numberNonnegative": {"type": "number", "minimum": 0},
    "numberPositive": {"type": "number", "exclusiveMinimum": 0},
    "package": {"type": "string", "pattern": STORE_PATH},
    "raw": {},
    "shellPackage": {"type": "string", "pattern": STORE_PATH},
    "singleLineStr": {"type": "string", "pattern": r"^[^\n\r]*\n?$(?!\n)"},
    "str": {"type": "string"},
    "string": {"type": "string"},
    "unspecified": {},
}
_NO_DATA = {
    "fileset": "a file set",
    "functionTo": "a function",
    "luaInline": "Lua code that is marked as such",
    "optionType": "an option type",
    "pkgs": "a package set",
}


class TypeConverter:
    """Converts the types of one schema document, and collects what they share below ``$defs``.

    ``options_schema`` turns a nested list of options into an object schema; it calls this class in turn.
    With ``output`` a coerced type is described as what it is coerced to, else as all that it takes.
    """

    def __init__(
        self,
        options_schema: Callable[[list[dict[str, Any]], tuple[str, ...]], JsonSchema],
        *,
        output: bool = False,
    ) -> None:
        self.defs: dict[str, JsonSchema] = {}
        self._options_schema = options_schema
        self._output = output
        self._stack: list[tuple[TypeNode, tuple[str, ...]]] = []
        self._names: dict[int, str] = {}  # id of a node → its name in $defs, once something refers to it
        self._submodules: set[str] = set()  # references to objects

    def convert(self, node: TypeNode, loc: tuple[str, ...]) -> JsonSchema:
        """The schema of the type ``node`` of the option at ``loc`` (relative to the document's root)."""
        if "up" in node:
            return {"$ref": self._reference(*self._stack[-node["up"]])}
        self._stack.append((node, loc))
        try:
            schema = self._by_name(node, loc)
        finally:
            self._stack.pop()
        if node.get("checked") and schema is not None:
            schema.setdefault(UNREPRESENTABLE, _FURTHER_CHECK)
        if node.get("passwdEntry"):
            schema = {"allOf": [schema, {"pattern": r"^[^:\n]*$(?!\n)"}]}
        name = self._names.get(id(node))
        if name is None:
            return schema
        self.defs[name] = schema
        return {"$ref": reference_to(name)}

    def _by_name(self, node: TypeNode, loc: tuple[str, ...]) -> JsonSchema:  # noqa: PLR0911 - one for each family
        name = node["name"]
        if name in _PLAIN:
            return dict(_PLAIN[name])
        if name in _NO_DATA:
            return {UNREPRESENTABLE: f"{_NO_DATA[name]} is not data"}
        if name in _ATOMS:
            return _ATOMS[name](node)
        if name in _COMPOSITES:
            convert: Callable[[TypeNode, tuple[str, ...]], JsonSchema] = getattr(self, _COMPOSITES[name])
            return convert(node, loc)
        if name.startswith("strMatching"):
            return _matching(node)
        if "bounds" in node or name == "int":
            bounds = node.get("bounds", {})
            return {
                **_ANY_INTEGER,
                "minimum": bounds.get("min", LEAST),
                "maximum": bounds.get("max", GREATEST),
            }
        return {UNREPRESENTABLE: f"the type {name}, which is none of nixpkgs' lib.types"}

    def _same(self, node: TypeNode, loc: tuple[str, ...]) -> JsonSchema:
        return self.convert(node["elem"], loc)

    def _union(self, node: TypeNode, loc: tuple[str, ...]) -> JsonSchema:
        match node["name"]:
            case "nullOr":
                return self._join(({"type": "null"}, None), (self.convert(node["elem"], loc), node["elem"]))
            case "either":
                first, second = node["left"], node["right"]
            case _ if self._output:
                return self.convert(node["to"], loc)
            case _:
                coerced = self._mark_coerced(self.convert(node["from"], loc))
                return self._join((coerced, node["from"]), (self.convert(node["to"], loc), node["to"]))
        return self._join((self.convert(first, loc), first), (self.convert(second, loc), second))

    def _mark_coerced(self, schema: JsonSchema) -> JsonSchema:
        if "anyOf" in schema:
            return {**schema, "anyOf": [self._mark_coerced(branch) for branch in schema["anyOf"]]}
        return {**schema, COERCED: True}

    def _join(self, *branches: tuple[JsonSchema, TypeNode | None]) -> JsonSchema:
        """A flat anyOf. Nix takes the first branch whose outermost kind fits, and looks at no later one."""
        parts: list[JsonSchema] = []
        unreachable: list[str] = []
        for branch, node in branches:
            taken = {kind for part in parts if (kind := self._outermost(part)) is not None}
            nested = branch.keys() <= {"anyOf", UNREACHABLE}
            unreachable += branch.get(UNREACHABLE, [])
            # A submodule takes any absolute path, as a module to import.
            imports = any(part.get("$ref") in self._submodules for part in parts)
            for part in branch["anyOf"] if nested else [branch]:
                if node is not None and (
                    self._outermost(part) in taken or (imports and part.get("pattern") == _ABSOLUTE)
                ):
                    unreachable.append(node.get("description", part.get("type", "")))
                elif part not in parts:
                    parts.append({"allOf": [part, _NOT_ABSOLUTE]} if imports and _is_text(part) else part)
        if _PLAIN["float"] in parts and _ANY_INTEGER in parts:
            parts.remove(_ANY_INTEGER)
            parts[parts.index(_PLAIN["float"])] = _PLAIN["number"]
        marks: JsonSchema = {UNREACHABLE: unreachable} if unreachable else {}
        return {"anyOf": parts, **marks} if len(parts) > 1 else {**parts[0], **marks}

    def _outermost(self, part: JsonSchema) -> str | None:
        """``array`` or ``object`` where Nix decides for this branch by nothing but that."""
        if "$ref" in part:
            return "object" if part["$ref"] in self._submodules else None
        decided = part.get("type") in ("array", "object") and not part.keys() & {"minItems", "maxProperties"}
        return part["type"] if decided else None

    def _collection(self, node: TypeNode, loc: tuple[str, ...]) -> JsonSchema:
        lists = node["name"] == "listOf"
        element = self.convert(
            node["elem"], (*loc, "*" if lists or node["name"] == "attrListOf" else "<name>")
        )
        if lists:
            return {"type": "array", "items": element, **({"minItems": 1} if node.get("nonEmpty") else {})}
        mapping = {"type": "object", "additionalProperties": element}
        if node["name"] == "attrListOf":
            one = {**mapping, "minProperties": 1, "maxProperties": 1}
            return {"anyOf": [{"type": "array", "items": one}, mapping]}
        return mapping

    def _submodule(self, node: TypeNode, loc: tuple[str, ...]) -> JsonSchema:
        if node.get("opaque"):
            return {"type": "object", UNREPRESENTABLE: "a submodule that is not described any deeper"}
        self._reference(node, loc)
        schema = self._options_schema(node["options"], loc)
        if node["name"] == "attrTag":
            return {
                "anyOf": [
                    {
                        "type": "object",
                        "properties": {tag: option},
                        "required": [tag],
                        "additionalProperties": False,
                    }
                    for tag, option in schema["properties"].items()
                ]
            }
        self._submodules.add(self._reference(node, loc))
        if "freeform" in node:
            further = self._further_values(self.convert(node["freeform"], loc))
            if further is False:
                # Newer versions of nixpkgs' lib only warn of it.
                schema[UNREPRESENTABLE] = "a freeform type that is not one of sets"
            self._open(schema, further is False or further)
        return schema

    def _further_values(self, freeform: JsonSchema | bool) -> JsonSchema | bool:
        """What the values of undeclared names may be, where the type of all of them together is this."""
        if isinstance(freeform, bool):
            return freeform
        if "$ref" in freeform:
            return self._further_values(resolve_reference(freeform["$ref"], {"$defs": self.defs}))
        branches = freeform.get("anyOf", [freeform])
        if any(not branch.keys() & {"type", "$ref", "enum", "allOf"} for branch in branches):
            return True
        values = [
            branch.get("additionalProperties", True) for branch in branches if branch.get("type") == "object"
        ]
        return values[0] if len(values) == 1 else bool(values)

    def _open(self, group: JsonSchema, values: JsonSchema | bool) -> None:
        """Let undeclared names into ``group``; into its groups too, one level of the type further in."""
        group["additionalProperties"] = values
        for inner in group["properties"].values():
            if "properties" in inner and "x-nix-type" not in inner:
                self._open(inner, self._further_values(values))

    def _reference(self, node: TypeNode, loc: tuple[str, ...]) -> str:
        name = self._names.get(id(node))
        if name is None:
            name = base = ".".join(loc)
            taken = self._names.values()
            number = 2
            while name in taken:
                name, number = f"{base}#{number}", number + 1
            self._names[id(node)] = name
        return reference_to(name)


def _is_text(part: JsonSchema) -> bool:
    return part.get("type") == "string"


def _enum(node: TypeNode) -> JsonSchema:
    values = node["values"]
    schema: JsonSchema = {"enum": [decode_value(value["value"]) for value in values if "value" in value]}
    if any("value" not in value for value in values):
        schema[UNREPRESENTABLE] = "choices that are not data"
    return schema


def _matching(node: TypeNode) -> JsonSchema:
    expression = node.get("pattern")
    if expression is None:
        # Before 2025-05 only the name says it, as a Nix string.
        expression = json.loads(node["name"].removeprefix("strMatching ").replace("\\$", "$"))
    schema: JsonSchema = {"type": "string"}
    try:
        schema["pattern"] = anchored(expression)
    except PatternError as error:
        schema[UNREPRESENTABLE] = f"the pattern {expression}: {error}"
    return schema


def _path(*, absolute: bool | None, inStore: bool | None) -> JsonSchema:  # noqa: N803 - as lib.types.pathWith names it
    schema: JsonSchema = {"type": "string"}
    if inStore:
        schema["pattern"] = IN_STORE
    elif absolute:
        schema["pattern"] = _ABSOLUTE
    elif absolute is False:
        schema.update(_NOT_ABSOLUTE)
    if inStore is False:
        schema["not"] = {"pattern": IN_STORE}
    return schema


def _number_between(node: TypeNode) -> JsonSchema:
    low, high = re.findall(r"-?[0-9][0-9.e+-]*", node["description"])[:2]
    return {"type": "number", "minimum": json.loads(low), "maximum": json.loads(high)}


_ATOMS: dict[str, Callable[[TypeNode], JsonSchema]] = {
    "enum": _enum,
    "numberBetween": _number_between,
    "path": lambda node: _path(**node["path"]),
    "pathInStore": lambda _node: {"type": "string", "pattern": "^/nix/store/[^.]"},
    "separatedString": lambda node: {"type": "string", "x-nix-sep": node["sep"]},
}
_COMPOSITES = {
    "attrListOf": "_collection",
    "attrTag": "_submodule",
    "attrsOf": "_collection",
    "coercedTo": "_union",
    "either": "_union",
    "lazyAttrsOf": "_collection",
    "listOf": "_collection",
    "loaOf": "_collection",
    "nullOr": "_union",
    "submodule": "_submodule",
    "unique": "_same",
}
