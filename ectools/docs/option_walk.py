"""The options of a schema with their paths, below lists, mappings, alternatives and references too.

A path holds ``*`` for any index, and ``<name>``, or what the type calls it, for any name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ectools.names import resolve_reference

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# The keywords below which a type can hold options of its own.
_HOLDERS = {"$ref", "properties", "anyOf", "allOf", "items", "additionalProperties"}


@dataclass(frozen=True)
class FoundOption:
    """An option's ``schema`` at ``path``; ``required``: what it stands in must have it."""

    path: tuple[str, ...]
    schema: dict[str, Any]
    required: bool


class OptionWalk:
    """Through one document. Hidden options are left out, with what is below them, and so are internal ones
    unless ``internal``.
    """

    def __init__(self, root: dict[str, Any], *, internal: bool) -> None:
        self.root = root
        self.internal = internal

    def find_options(self, path: tuple[str, ...]) -> Iterator[FoundOption]:
        """The options of the document, which stands at ``path``."""
        for inner_path, inner in self._find_objects(self.root, path, ()):
            yield from self.list_options(inner, inner_path, ())

    def enters_internal(self) -> bool:
        """Whether what is below an internal option is found although that is not."""
        return self.internal

    def choose_alternatives(self, node: dict[str, Any]) -> Sequence[Any]:
        """Of a type that is none of one kind, the parts whose options are its own."""
        return (*node.get("anyOf", ()), *node.get("allOf", ()))

    def list_options(
        self, node: dict[str, Any], path: tuple[str, ...], inside: tuple[int, ...]
    ) -> Iterator[FoundOption]:
        """The options of an object schema; ``inside`` are the objects that led here: recursion ends."""
        if id(node) in inside:
            return
        inside = (*inside, id(node))
        for name, option in node.get("properties", {}).items():
            here = (*path, name)
            if "x-nix-type" not in option:
                yield from self.list_options(option, here, inside)
                continue
            visible = option.get("x-nix-visible", True)
            is_told = self.internal or not option.get("x-nix-internal")
            if is_told and visible in (True, "shallow"):
                yield FoundOption(here, option, name in node.get("required", ()))
            if visible in (True, "transparent") and (is_told or self.enters_internal()):
                for inner_path, inner in self._find_objects(option, here, ()):
                    yield from self.list_options(inner, inner_path, inside)

    def _find_objects(
        self, node: Any, path: tuple[str, ...], followed: tuple[str, ...]
    ) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
        """The object schemas of a type's values, with their paths; ``followed`` are the references so far."""
        if not isinstance(node, dict) or _HOLDERS.isdisjoint(node) or "x-nix-unreachable" in node:
            # What is unreachable is never tried.
            return
        if "$ref" in node:
            reference = node["$ref"]
            if reference not in followed:
                target = resolve_reference(reference, self.root)
                yield from self._find_objects(target, path, (*followed, reference))
            return
        if "properties" in node:
            yield path, node
        else:
            for each in self.choose_alternatives(node):
                yield from self._find_objects(each, path, followed)
            yield from self._find_objects(node.get("items"), (*path, "*"), followed)
        # What further names hold, a freeform type's own too.
        further = node.get("additionalProperties")
        yield from self._find_objects(further, (*path, show_placeholder(node)), followed)


def show_placeholder(mapping: dict[str, Any]) -> str:
    """What stands for any name of a set: ``<name>``, or as its type says."""
    return f"<{mapping.get('x-nix-placeholder', 'name')}>"
