"""A tree of options as one JSON Schema document, the same text for the same options.

Keywords of its own, all starting with ``x-nix-``:

``path``             of a document: where its options stand, as a list of names
``type``             the type in nixpkgs' words; an object schema without it is a mere group of options
``default-text``     the default as a Nix expression, where it is not data;
``default-markdown`` or in words
``example-text``, ``example-markdown``  the same for the example
``declarations``     ``file#L12``, relative to the repository where it is in it
``modules``          the files of the modules that declare it, where these are not those of the declarations
``internal``, ``visible``, ``related-packages``  as the option says
``coerced``          of an alternative: the option's value is what this is converted to, which may fail
``float``            integers are rejected by Nix: write 1.0
``empty``            of an option without a default: the value that its type has for one that nobody set
``placeholder``      what stands for any name of a set in the documentation, where that is not ``name``
``sep``              what several definitions of a string are joined with
``unreachable``      alternatives that Nix never tries, because an earlier one decides by the outermost kind
``unrepresentable``  why the schema does not say all of what the type does
``broken``           the parts of the option that could not be evaluated, each with what Nix says of it,
                     where that is known: ``message``, ``at`` (as a declaration), ``trace`` (a list of texts)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any

from ectools.names import JsonSchema, show_path
from ectools.options.dump import Dump, Tree, decode_value
from ectools.options.types import TypeConverter
from ectools.options.unions import UNREPRESENTABLE

if TYPE_CHECKING:
    from ectools.options.causes import Cause

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_ADVICE = {
    "default": "its default does not evaluate: give it a defaultText if it needs a configuration or packages",
    "description": "its description does not evaluate: make it a text that needs no configuration",
    "example": "its example does not evaluate: write it as lib.literalExpression",
    "option": "it does not evaluate as an option: declare it with lib.mkOption",
    "rest": "where it is declared, or a flag of it, does not evaluate: make it a plain value",
    "type": "its type does not evaluate: make it one that needs no configuration",
}


@dataclass(frozen=True)
class ExportFinding:
    """An option of which a part could not be evaluated; the rest of it, and all others, are exported.

    ``cause`` is Nix's message and its place, ``trace`` the nearest steps that led there, each with its own.
    """

    option: str
    part: str
    cause: str = ""
    trace: tuple[str, ...] = ()

    def render(self) -> str:
        lines = [f"{self.option}: {_ADVICE[self.part]}"]
        if self.cause:
            lines += [f"  nix: {self.cause}", *(f"    {step}" for step in self.trace)]
        return "\n".join(lines)


@dataclass(frozen=True)
class Export:
    """One schema document, and what is missing from it."""

    name: str
    document: JsonSchema
    findings: tuple[ExportFinding, ...]

    def render(self) -> bytes:
        """The text of the schema file."""
        parts: list[str] = []
        _write_json(self.document, "\n", parts)
        return ("".join(parts) + "\n").encode()


def export_tree(dump: Dump, tree: Tree, *, output: bool = False) -> Export:
    """The schema of one tree of a dump. ``output``: of the values that options have once they are coerced."""
    builder = _Builder(dump, tree, output=output)
    root = builder.options_schema(tree.options, ())
    for path in tree.open:
        _open_group(root, path)
    document: JsonSchema = {
        "$schema": DIALECT,
        "title": show_path(tree.path) or tree.name,
        "x-nix-path": list(tree.path),
        **root,
    }
    if builder.types.defs:
        document["$defs"] = dict(sorted(builder.types.defs.items()))
    return Export(tree.name, document, tuple(builder.findings))


class _Builder:
    def __init__(self, dump: Dump, tree: Tree, *, output: bool) -> None:
        self.dump = dump
        self.tree = tree
        self.types = TypeConverter(self.options_schema, output=output)
        self.findings: list[ExportFinding] = []

    def options_schema(self, options: list[dict[str, Any]], loc: tuple[str, ...]) -> JsonSchema:
        """An object schema of options whose paths are relative to ``loc``."""
        root = _group()
        for described in options:
            option = {field: value for field, value in described.items() if value is not None}
            group = root
            above = [root]
            *directories, name = option["path"]
            for directory in directories:
                group = group["properties"].setdefault(directory, _group())
                above.append(group)
            group["properties"][name] = self._option_schema(option, (*loc, *option["path"]))
            # Of a whole configuration no option must be set: modules set each other's, and Nix is lazy.
            if self.dump.required and (loc or self.tree.path) and self._is_required(option):
                for outer, required in zip(above, option["path"], strict=True):
                    if required not in outer["required"]:
                        outer["required"].append(required)
        return _without_empty_required(root)

    def _is_required(self, option: dict[str, Any]) -> bool:
        if "default" in option or option.get("defined") or option.get("readOnly") or option.get("broken"):
            return False
        if "type" not in option or option.get("visible") is False or option.get("internal"):
            # Hidden ones are aliases and removed options; internal ones are set by their module.
            return False
        return not (self.dump.empty_is_default and option.get("empty"))

    def _option_schema(self, option: dict[str, Any], loc: tuple[str, ...]) -> JsonSchema:
        broken = option.get("broken", [])
        causes = {part: self._cause(cause) for part, cause in option.get("causes", {}).items()}
        for part in broken:
            known = causes.get(part, {})
            at = f", at {known['at']}" if "at" in known else ""
            cause = f"{known['message']}{at}" if known else ""
            shown = show_path((*self.tree.path, *loc))
            self.findings.append(ExportFinding(shown, part, cause, tuple(known.get("trace", ()))))
        schema: JsonSchema = {}
        if "description" in option:
            schema["description"] = option["description"]
        if _stands_for_another(option):
            schema[UNREPRESENTABLE] = "the name of a value that is no option, which decides what it may be"
        elif "type" in option:
            schema.update(self.types.convert(option["type"], loc))
        elif "type" in broken or "option" in broken:
            schema[UNREPRESENTABLE] = "the type could not be evaluated"
        schema |= _values(option)
        if option.get("readOnly"):
            schema["readOnly"] = True
        # Always there, because it is what tells an option from a group of them.
        schema["x-nix-type"] = option.get("type", {}).get("description", "unspecified value")
        if option.get("internal"):
            schema["x-nix-internal"] = True
        if option.get("visible", True) is not True:
            schema["x-nix-visible"] = option["visible"]
        if "relatedPackages" in option:
            schema["x-nix-related-packages"] = option["relatedPackages"]
        schema |= self._declarations(option)
        if broken:
            schema["x-nix-broken"] = {part: causes.get(part, {}) for part in broken}
        return schema

    def _declarations(self, option: dict[str, Any]) -> JsonSchema:
        """Where an option is declared, and by which modules where these are other files."""
        places = (self._place(place["file"], place["line"]) for place in option.get("declarations", []))
        declared = {"x-nix-declarations": [place for place in places if place is not None]}
        if "modules" in option:
            # A module may have any name; one that is given as an expression has this one.
            modules = (file for file in option["modules"] if file != "<unknown-file>")
            declared["x-nix-modules"] = [self._place(file, None) or file for file in modules]
        return declared

    def _cause(self, cause: Cause) -> JsonSchema:
        """What ``x-nix-broken`` says of one part."""
        at = self._place(cause.error.file, cause.error.line)
        trace = [
            f"{step.message}, at {place}"
            for step in cause.trace
            if (place := self._place(step.file, step.line)) is not None
        ]
        return {
            "message": cause.error.message,
            **({"at": at} if at is not None else {}),
            **({"trace": trace} if trace else {}),
        }

    def _place(self, file: str | None, line: int | None) -> str | None:
        """``file#L12``, relative to a root; None for an expression that was given as text."""
        if file is None or not file.startswith("/"):
            return None
        for root, prefix in self.dump.roots:
            if file.startswith(root):
                file = prefix + file.removeprefix(root)
                break
        return file if line is None else f"{file}#L{line}"


_write_scalar = json.JSONEncoder(ensure_ascii=False).encode  # json.dumps makes an encoder at each call


def _write_json(value: Any, newline: str, parts: list[str]) -> None:
    """The text of ``json.dumps(value, indent=2, ensure_ascii=False)``, which takes twice as long.

    ``newline`` is the line break with the indent of the value; what is written is added to ``parts``.
    """
    kind = type(value)
    inner = newline + "  "
    if kind is dict and value:
        lead = "{" + inner
        for name, item in value.items():
            if type(item) is str:
                parts.append(f"{lead}{encode_basestring(name)}: {encode_basestring(item)}")
            elif item is True or item is False:
                parts.append(f"{lead}{encode_basestring(name)}: {'true' if item else 'false'}")
            else:
                parts.append(f"{lead}{encode_basestring(name)}: ")
                _write_json(item, inner, parts)
            lead = "," + inner
        parts.append(newline + "}")
    elif kind is list and value:
        lead = "[" + inner
        for item in value:
            if type(item) is str:
                parts.append(lead + encode_basestring(item))
            else:
                parts.append(lead)
                _write_json(item, inner, parts)
            lead = "," + inner
        parts.append(newline + "]")
    else:
        parts.append(_write_scalar(value))


def _group() -> JsonSchema:
    return {"type": "object", "properties": {}, "required": [], "additionalProperties": False}


def _open_group(group: JsonSchema, path: tuple[str, ...]) -> None:
    """Let names into a group that this document says nothing of."""
    for name in path:
        group = group["properties"][name]
    del group["additionalProperties"]


def _without_empty_required(group: JsonSchema) -> JsonSchema:
    if not group["required"]:
        del group["required"]
    for child in group["properties"].values():
        if "x-nix-type" not in child:
            _without_empty_required(child)
    return group


def _values(option: dict[str, Any]) -> JsonSchema:
    """The default and the example of an option, and what stands for a default that it lacks."""
    schema: JsonSchema = {}
    for field in ("default", "example"):
        if field in option:
            schema |= _value(field, option[field])
    if "value" in option.get("emptyDefault", {}):
        schema["x-nix-empty"] = decode_value(option["emptyDefault"]["value"])
    return schema


def _value(field: str, described: dict[str, Any]) -> JsonSchema:
    if "value" in described:
        value = decode_value(described["value"])
        return {"default": value} if field == "default" else {"examples": [value]}
    kind, text = next(iter(described.items()))
    return {f"x-nix-{field}-{kind}": text}


def _stands_for_another(option: dict[str, Any]) -> bool:
    """Whether an option is the former name of what no option declares, as a name in a freeform set is none.

    ``lib.doRename`` gives it an empty submodule as its type, and never looks at that.
    """
    described = option.get("type", {})
    return (
        option.get("visible") is False
        and described.get("name") == "submodule"
        and not described.get("options")
        and not described.keys() & {"freeform", "opaque", "checked"}
    )
