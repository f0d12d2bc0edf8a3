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
from ectools.options.unions import (
    ABSOLUTE,
    ANY_INTEGER,
    FLOAT,
    GREATEST,
    LEAST,
    NOT_ABSOLUTE,
    NUMBER,
    UNREPRESENTABLE,
    UnionSchema,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TypeNode = dict[str, Any]

# A top-level store path, as Nix itself parses them (nix's path.cc).
STORE_PATH = r"^/nix/store/[0-9abcdfghijklmnpqrsvwxyz]{32}-[0-9A-Za-z+._?=-]+$(?!\n)"
# lib.path.hasStorePathPrefix, which makes a path of the string first and so takes relative ones too.
IN_STORE = r"^(?:\.{0,2}/)*nix/(?:\.?/)*store/(?:\.?/)*[^/]{32}-[^/]"
_NUMBER = r"(-?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)"
_BETWEEN = re.compile(f"between {_NUMBER} and {_NUMBER}")
_FURTHER_CHECK = "a further check of the value"

_PLAIN: dict[str, JsonSchema] = {
    "anything": {},
    "attrs": {"type": "object"},
    "bool": {"type": "boolean"},
    "boolByOr": {"type": "boolean"},
    "commas": {"type": "string"},
    "deferredModule": {"anyOf": [{"type": "object"}, {"type": "string", "pattern": ABSOLUTE}]},
    "envVar": {"type": "string"},
    "float": FLOAT,
    "json": {},
    "lines": {"type": "string"},
    "nonEmptyStr": {"type": "string", "pattern": r"[^ \t\n]"},
    "number": NUMBER,
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
        if name == "deferredModule" and "inside" in node:
            return self._deferred_module(node["inside"], loc)
        if name in _PLAIN:
            return dict(_PLAIN[name])
        if name in _NO_DATA:
            return self._custom(node, loc, reason=f"{_NO_DATA[name]} is not data")
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
                **ANY_INTEGER,
                "minimum": bounds.get("min", LEAST),
                "maximum": bounds.get("max", GREATEST),
            }
        return self._custom(node, loc)

    def _same(self, node: TypeNode, loc: tuple[str, ...]) -> JsonSchema:
        return self.convert(node["elem"], loc)

    def _union(self, node: TypeNode, loc: tuple[str, ...]) -> JsonSchema:
        union = UnionSchema(self._submodules)
        match node["name"]:
            case "nullOr":
                union.add({"type": "null"})
                members = ["elem"]
            case "either":
                members = ["left", "right"]
            case _ if self._output:
                return self.convert(node["to"], loc)
            case _:
                members = ["from", "to"]
        for member in members:
            schema = self.convert(node[member], loc)
            union.add(schema, node[member].get("description", ""), coerced=member == "from")
        return union.build()

    def _collection(self, node: TypeNode, loc: tuple[str, ...]) -> JsonSchema:
        lists = node["name"] == "listOf"
        placeholder = node.get("placeholder", "name")
        element = self.convert(
            node["elem"], (*loc, "*" if lists or node["name"] == "attrListOf" else f"<{placeholder}>")
        )
        if lists:
            return {"type": "array", "items": element, **({"minItems": 1} if node.get("nonEmpty") else {})}
        mapping = {"type": "object", "additionalProperties": element}
        if placeholder != "name":
            mapping["x-nix-placeholder"] = placeholder
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
            return _tagged(schema["properties"])
        if not node.get("checked"):
            self._submodules.add(self._reference(node, loc))
        if "freeform" in node:
            further = self._further_values(self.convert(node["freeform"], loc))
            if further is False:
                # Newer versions of nixpkgs' lib only warn of it.
                schema[UNREPRESENTABLE] = "a freeform type that is not one of sets"
            self._open(schema, further is False or further)
        return schema

    def _custom(self, node: TypeNode, loc: tuple[str, ...], *, reason: str = "") -> JsonSchema:
        """A type that is none of nixpkgs': any value, with the options that it says are below it."""
        schema: JsonSchema = {
            UNREPRESENTABLE: reason or f"the type {node['name']}, which is none of nixpkgs' lib.types"
        }
        known: list[JsonSchema] = []
        if "inside" in node:
            known = [self._inside(node["inside"], loc)]
        elif "nested" in node:
            nested = [self.convert(inner, loc) for inner in node["nested"].values()]
            known = [each for each in nested if _holds_options(each)]
        return {"anyOf": [*known, {}], **schema} if known else schema

    def _inside(self, inside: TypeNode, loc: tuple[str, ...]) -> JsonSchema:
        """The options below a type, in the lists and sets that lead to them."""
        schema = self._options_schema(inside["options"], (*loc, *inside["wrap"]))
        for step in reversed(inside["wrap"]):
            if step == "*":
                schema = {"type": "array", "items": schema}
                continue
            placeholder = step.strip("<>")
            schema = {"type": "object", "additionalProperties": schema}
            if placeholder != "name":
                schema["x-nix-placeholder"] = placeholder
        return schema

    def _deferred_module(self, inside: TypeNode, loc: tuple[str, ...]) -> JsonSchema:
        """A module that is evaluated elsewhere: the options that it always has there, and further ones."""
        schema = self._inside(inside, loc)
        self._open(schema, True)
        return {"anyOf": [schema, {"type": "string", "pattern": ABSOLUTE}]}

    def _further_values(self, freeform: JsonSchema | bool) -> JsonSchema | bool:
        """What the values of undeclared names may be, where the type of all of them together is this."""
        if isinstance(freeform, bool):
            return freeform
        values: list[JsonSchema | bool] = []
        for branch in self._branches(freeform, ()):
            if not branch.keys() & {"type", "enum", "allOf"} or "properties" in branch:
                return True
            if branch.get("type") == "object":
                values.append(branch.get("additionalProperties", True))
        return values[0] if len(values) == 1 else bool(values)

    def _branches(self, schema: JsonSchema, inside: tuple[str, ...]) -> Iterator[JsonSchema]:
        """The alternatives of a schema, through references; ``inside`` are those that led here.

        A type that is not converted yet, because it holds the one that asks, is one that says nothing.
        """
        if "$ref" in schema:
            reference = schema["$ref"]
            if reference in inside:
                return
            try:
                target = resolve_reference(reference, {"$defs": self.defs})
            except KeyError:
                target = {}
            yield from self._branches(target, (*inside, reference))
        elif "anyOf" in schema:
            for branch in schema["anyOf"]:
                yield from self._branches(branch, inside)
        else:
            yield schema

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


def _holds_options(schema: Any) -> bool:
    """Whether options are declared in a schema, or in one that it refers to."""
    if isinstance(schema, list):
        return any(map(_holds_options, schema))
    if not isinstance(schema, dict):
        return False
    return not schema.keys().isdisjoint(("properties", "$ref")) or any(map(_holds_options, schema.values()))


def _tagged(tags: dict[str, JsonSchema]) -> JsonSchema:
    """A set of exactly one of these names."""
    if not tags:
        return {"enum": []}
    return {
        "anyOf": [
            {"type": "object", "properties": {tag: option}, "required": [tag], "additionalProperties": False}
            for tag, option in tags.items()
        ]
    }


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
        expression = _read_nix_string(node["name"].removeprefix("strMatching"))
    schema: JsonSchema = {"type": "string"}
    if expression is None:
        return {**schema, UNREPRESENTABLE: "its pattern"}
    try:
        schema["pattern"] = anchored(expression)
    except PatternError as error:
        schema[UNREPRESENTABLE] = f"the pattern {expression}: {error}"
    return schema


def _read_nix_string(text: str) -> str | None:
    """What a string that ``lib.strings.escapeNixString`` wrote stands for; None where it is none."""
    try:
        value = json.loads(text.replace("\\$", "$"))
    except ValueError:
        return None
    return value if isinstance(value, str) else None


def _path(*, absolute: bool | None, inStore: bool | None) -> JsonSchema:  # noqa: N803 - as lib.types.pathWith names it
    schema: JsonSchema = {"type": "string"}
    if inStore:
        schema["pattern"] = IN_STORE
    elif absolute:
        schema["pattern"] = ABSOLUTE
    elif absolute is False:
        schema.update(NOT_ABSOLUTE)
    if inStore is False:
        schema["not"] = {"pattern": IN_STORE}
    return schema


def _number_between(node: TypeNode) -> JsonSchema:
    # The description alone says them, and may have been replaced.
    found = _BETWEEN.search(node.get("description", ""))
    if found is None:
        return {**NUMBER, UNREPRESENTABLE: "the bounds of the number"}
    return {"type": "number", "minimum": json.loads(found[1]), "maximum": json.loads(found[2])}


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
TYPE_NAMES = sorted({*_PLAIN, *_NO_DATA, *_COMPOSITES, "int", "path", "pathInStore"} - {"attrTag", "loaOf"})
"""The names of nixpkgs' types that another may be described as: the name says all, or the parts do."""
