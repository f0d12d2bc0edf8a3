"""What the pages are made of: the options of a schema as a flat list, in the order in which they are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ectools.docs.constraints import Constraint, find_constraints
from ectools.errors import EcError
from ectools.names import resolve, show_path
from ectools.nixlang import render

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ectools.schemas import Schema

# The rule of the NixOS manual, so that links to it and to these pages are made alike.
_ANCHOR = str.maketrans(dict.fromkeys('*<> []:"', "_"))


@dataclass(frozen=True)
class Code:
    """A default or an example: a Nix expression, or words (Markdown) where ``words``."""

    text: str
    words: bool = False


@dataclass(frozen=True, kw_only=True)
class OptionDoc:
    """One option. ``path`` may hold ``*`` and ``<name>`` for any index, any name."""

    path: tuple[str, ...]
    name: str
    anchor: str
    description: str
    type: str
    constraints: tuple[Constraint, ...]
    default: Code | None
    example: Code | None
    declarations: tuple[str, ...]
    read_only: bool
    required: bool


@dataclass(frozen=True)
class ModuleDoc:
    """One schema's options. ``prefix`` is the dotted path of what the schema describes."""

    name: str
    prefix: str
    options: tuple[OptionDoc, ...]


class UndocumentedError(EcError):
    """Options without a description; the pages are not written."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(
            "\n".join([f"{len(names)} options without a description:", *(f"  {name}" for name in names)]),
            hint="give each mkOption a description, or make it internal",
        )
        self.names = tuple(names)


def build_module(schema: Schema) -> ModuleDoc:
    """The options of a schema that people set: hidden and internal ones are left out.

    Raises UndocumentedError.
    """
    path = tuple(schema.document.get("x-nix-path", ()))
    options = sorted(
        _walk(schema.document, path, schema.document, set()), key=lambda option: _order(option.path)
    )
    undocumented = [option.name for option in options if not option.description]
    if undocumented:
        raise UndocumentedError(undocumented)
    return ModuleDoc(schema.name, schema.prefix, tuple(options))


def make_anchor(name: str) -> str:
    """The id of an option's entry in every format."""
    return f"opt-{name}".translate(_ANCHOR)


def _order(path: tuple[str, ...]) -> list[tuple[int, str]]:
    # Whether and what comes before how.
    rank = {"enable": 0, "package": 1}
    return [(rank.get(part, 2), part) for part in path]


def _walk(
    node: dict[str, Any], path: tuple[str, ...], root: dict[str, Any], inside: set[int]
) -> Iterator[OptionDoc]:
    """``inside`` are the objects that are being walked, so that a type which holds itself ends."""
    if id(node) in inside:
        return
    inside = inside | {id(node)}
    for name, option in node.get("properties", {}).items():
        here = (*path, name)
        if "x-nix-type" not in option:
            yield from _walk(option, here, root, inside)
            continue
        shown = option.get("x-nix-visible", True)
        if option.get("x-nix-internal") or shown is False:
            continue
        if shown != "transparent":
            yield _option(option, here, root, required=name in node.get("required", ()))
        for inner_path, inner in _inner_objects(option, here, root):
            yield from _walk(inner, inner_path, root, inside)


def _inner_objects(
    node: Any, path: tuple[str, ...], root: dict[str, Any]
) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    if not isinstance(node, dict):
        return
    if "$ref" in node:
        target = resolve(node["$ref"], root)
        if "properties" in target:
            yield path, target
        return
    if "properties" in node:
        yield path, node
        return
    for branch in (*node.get("anyOf", ()), *node.get("allOf", ())):
        yield from _inner_objects(branch, path, root)
    yield from _inner_objects(node.get("items"), (*path, "*"), root)
    yield from _inner_objects(node.get("additionalProperties"), (*path, "<name>"), root)


def _option(
    option: dict[str, Any], path: tuple[str, ...], root: dict[str, Any], *, required: bool
) -> OptionDoc:
    name = show_path(path)
    return OptionDoc(
        path=path,
        name=name,
        anchor=make_anchor(name),
        description=option.get("description", ""),
        type=option["x-nix-type"],
        constraints=tuple(find_constraints(option, root)),
        default=_code(option, "default", option.get("default", _NOTHING)),
        example=_code(option, "example", option["examples"][0] if option.get("examples") else _NOTHING),
        declarations=tuple(option.get("x-nix-declarations", ())),
        read_only=option.get("readOnly", False),
        required=required,
    )


_NOTHING = object()


def _code(option: dict[str, Any], field: str, value: Any) -> Code | None:
    if value is not _NOTHING:
        return Code(render(value))
    if f"x-nix-{field}-text" in option:
        return Code(option[f"x-nix-{field}-text"])
    if f"x-nix-{field}-markdown" in option:
        return Code(option[f"x-nix-{field}-markdown"], words=True)
    return None
