"""Drift between two schemas of options, by meaning.

Breaking: a value that was valid no longer is, an option is gone, a default is another. Compatible: only more
is valid than before. Docs: what is valid and what is assumed are the same, only the words differ.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ectools.errors import cut
from ectools.names import JsonSchema, resolve_reference, show_path
from ectools.options.inclusion import Inclusion
from ectools.options.renames import OptionPath, find_renames, is_removed
from ectools.options.unions import is_same

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_DOCS = {
    "description": "the description",
    "examples": "the example",
    "x-nix-example-text": "the example",
    "x-nix-example-markdown": "the example",
    "x-nix-type": "the type's name",
    "x-nix-declarations": "where it is declared",
    "x-nix-internal": "whether it is internal",
    "x-nix-visible": "whether it is shown",
    "x-nix-related-packages": "the related packages",
    "x-nix-unreachable": "the alternatives that are never tried",
    "x-nix-unrepresentable": "what the schema cannot say",
    "x-nix-broken": "what could not be evaluated",
}
_DEFAULTS = ("default", "x-nix-default-text", "x-nix-default-markdown")
_NOT_A_CONSTRAINT = {
    *_DOCS,
    *_DEFAULTS,
    "readOnly",
    "x-nix-empty",
    "x-nix-modules",
    "x-nix-placeholder",
    "x-nix-sep",
    "title",
}
_TEXTS = {key for key in (*_DOCS, *_DEFAULTS) if key == "description" or key.endswith(("-text", "-markdown"))}


class ChangeKind(StrEnum):
    """How bad a change is, the worst last."""

    DOCS = "docs"
    COMPATIBLE = "compatible"
    BREAKING = "breaking"


@dataclass(frozen=True, kw_only=True)
class Change:
    """One difference: the dotted path of the option, and what differs, None where it is absent."""

    kind: ChangeKind
    option: str
    message: str
    old: Any = None
    new: Any = None

    def render(self) -> str:
        return f"{self.kind}: {self.option}: {self.message}"


def compare(old: JsonSchema, new: JsonSchema) -> list[Change]:
    """Every difference of meaning between two documents, in the order of their options."""
    return list(_Comparison(old, new).run())


def worst(changes: list[Change]) -> ChangeKind | None:
    """The worst kind among ``changes``; None where there is none."""
    order = list(ChangeKind)
    return max((change.kind for change in changes), key=order.index, default=None)


@dataclass(frozen=True)
class _Flat:
    """An object schema without its groups: options, which must be set, and what else each group takes."""

    options: dict[OptionPath, JsonSchema]
    required: frozenset[OptionPath]
    further: dict[OptionPath, JsonSchema | bool]


def _flatten(node: JsonSchema, path: OptionPath) -> _Flat:
    options: dict[OptionPath, JsonSchema] = {}
    required: set[OptionPath] = set()
    further: dict[OptionPath, JsonSchema | bool] = {}

    def walk(node: JsonSchema, path: OptionPath, *, needed: bool) -> None:
        further[path] = node.get("additionalProperties", True)
        for name, inner in node.get("properties", {}).items():
            here = (*path, name)
            inner_needed = needed and name in node.get("required", ())
            if "properties" in inner and "x-nix-type" not in inner:
                walk(inner, here, needed=inner_needed)
                continue
            options[here] = inner
            if inner_needed:
                required.add(here)

    walk(node, path, needed=True)
    return _Flat(options, frozenset(required), further)


class _Comparison:
    def __init__(self, old: JsonSchema, new: JsonSchema) -> None:
        self.old = old
        self.new = new
        self.inclusion = Inclusion(old, new)
        self._below: set[tuple[int, int]] = set()  # pairs of objects, so that types which hold themselves end

    def run(self) -> Iterator[Change]:
        before, after = tuple(self.old.get("x-nix-path", ())), tuple(self.new.get("x-nix-path", ()))
        both = _flatten(self.old, before).options.keys() & _flatten(self.new, after).options.keys()
        if before == after or both:
            # A tree that stands further out because there are more options now is the same tree.
            yield from self._objects(self.old, self.new, after, stood_at=before)
        else:
            yield Change(
                kind=ChangeKind.BREAKING,
                option=show_path(after),
                message=f"the options stood at {show_path(before) or 'the root'} before",
                old=before,
                new=after,
            )
            yield from self._objects(self.old, self.new, after)

    def _objects(
        self, old: JsonSchema, new: JsonSchema, path: OptionPath, *, stood_at: OptionPath | None = None
    ) -> Iterator[Change]:
        """Changes of the options of two objects at ``path``; the older ``stood_at`` another one perhaps."""
        if (id(old), id(new)) in self._below:
            return
        self._below.add((id(old), id(new)))
        before, after = _flatten(old, path if stood_at is None else stood_at), _flatten(new, path)
        added = {where: option for where, option in after.options.items() if where not in before.options}
        renamed = find_renames(before.options, after.options)
        for where in sorted({*before.options, *after.options}):
            if where in renamed:
                yield from self._renamed(before.options[where], where, renamed[where], after.options)
            elif where in added and where in renamed.values():
                continue
            elif where not in after.options:
                yield _removed(before.options[where], where, added)
            elif is_removed(after.options[where]) and where not in added:
                if not is_removed(before.options[where]):
                    yield _removed(before.options[where], where, added)
            elif where in added:
                yield _added(added[where], where, required=where in after.required)
            else:
                yield from _requirement(where, before, after)
                yield from self._option(before.options[where], after.options[where], where)
        for where in sorted(before.further.keys() & after.further.keys()):
            yield from self._further_names(before.further[where], after.further[where], where)

    def _renamed(
        self, old: JsonSchema, path: OptionPath, name: OptionPath, after: Mapping[OptionPath, JsonSchema]
    ) -> Iterator[Change]:
        """An option that is an alias of another now: a rename, and what else became of it."""
        yield Change(
            kind=ChangeKind.COMPATIBLE,
            option=show_path(path),
            message=f"it is renamed to {show_path(name)}, and the former name still works",
            old=show_path(path),
            new=show_path(name),
        )
        yield from self._option(old, after[name], name)

    def _further_names(
        self, old: JsonSchema | bool, new: JsonSchema | bool, path: OptionPath
    ) -> Iterator[Change]:
        if not self.inclusion.holds(old, new):
            message, kind = (
                "further names take less than before, or are not allowed any more",
                ChangeKind.BREAKING,
            )
        elif not self.inclusion.reversed().holds(new, old):
            message, kind = "further names are allowed, or take more than before", ChangeKind.COMPATIBLE
        else:
            return
        yield Change(kind=kind, option=show_path((*path, "<name>")), message=message, old=old, new=new)

    def _option(self, old: JsonSchema, new: JsonSchema, path: OptionPath) -> Iterator[Change]:
        option = show_path(path)
        yield from _compare_defaults(option, old, new)
        if bool(new.get("readOnly")) != bool(old.get("readOnly")):
            yield Change(
                kind=ChangeKind.BREAKING if new.get("readOnly") else ChangeKind.COMPATIBLE,
                option=option,
                message="it is read-only now" if new.get("readOnly") else "it is not read-only any more",
            )
        yield from self._types(old, new, path)
        yield from _compare_docs(option, old, new)

    def _types(self, old: JsonSchema, new: JsonSchema, path: OptionPath) -> Iterator[Change]:
        inner_old, inner_new = self._inner(old, self.old, path), self._inner(new, self.new, path)
        if len(inner_old) == len(inner_new):
            # What differs inside a submodule is reported there, by its own option.
            opaque = {id(a): id(b) for (_, a), (_, b) in zip(inner_old, inner_new, strict=True)}
        else:
            inner_old, inner_new, opaque = [], [], {}
        wider = self.inclusion.holds(old, new, opaque)
        if not wider:
            yield Change(
                kind=ChangeKind.BREAKING,
                option=show_path(path),
                message="values that were valid are not any more",
                old=constraint(old),
                new=constraint(new),
            )
        elif not self.inclusion.reversed().holds(new, old, {b: a for a, b in opaque.items()}):
            yield Change(
                kind=ChangeKind.COMPATIBLE,
                option=show_path(path),
                message="more values are valid than before",
                old=constraint(old),
                new=constraint(new),
            )
        for (where, a), (_, b) in zip(inner_old, inner_new, strict=True):
            yield from self._objects(a, b, where)

    def _inner(self, node: Any, root: JsonSchema, path: OptionPath) -> list[tuple[OptionPath, JsonSchema]]:
        """The outermost objects with options of their own inside a type, with their paths."""
        found: list[tuple[OptionPath, JsonSchema]] = []
        seen: set[int] = set()

        def walk(node: Any, path: OptionPath) -> None:
            if not isinstance(node, dict) or id(node) in seen:
                return
            seen.add(id(node))
            if "$ref" in node:
                walk(resolve_reference(node["$ref"], root), path)
            elif "properties" in node:
                found.append((path, node))
            else:
                for branch in (*node.get("anyOf", ()), *node.get("allOf", ())):
                    walk(branch, path)
                walk(node.get("items"), (*path, "*"))
                walk(node.get("additionalProperties"), (*path, "<name>"))

        walk(node, path)
        return found


def constraint(option: JsonSchema) -> JsonSchema:
    """The part of an option's schema that constrains its values."""
    return {key: value for key, value in option.items() if key not in _NOT_A_CONSTRAINT}


def _removed(gone: JsonSchema, path: OptionPath, added: dict[OptionPath, JsonSchema]) -> Change:
    alike = [where for where, option in added.items() if _same_meaning(gone, option)]
    named = [
        where
        for where in alike
        if where[-1] == path[-1] or added[where].get("description") == gone.get("description")
    ]
    renamed = f"; {show_path(named[0])} is new and takes the same" if len(named) == 1 else ""
    return Change(kind=ChangeKind.BREAKING, option=show_path(path), message=f"it is gone{renamed}", old=gone)


def _added(option: JsonSchema, path: OptionPath, *, required: bool) -> Change:
    return Change(
        kind=ChangeKind.BREAKING if required else ChangeKind.COMPATIBLE,
        option=show_path(path),
        message="it is new and must be set" if required else "it is new",
        new=option,
    )


def _requirement(path: OptionPath, before: _Flat, after: _Flat) -> Iterator[Change]:
    if path in after.required - before.required:
        yield Change(
            kind=ChangeKind.BREAKING,
            option=show_path(path),
            message="it must be set now",
            old=False,
            new=True,
        )
    elif path in before.required - after.required:
        yield Change(
            kind=ChangeKind.COMPATIBLE,
            option=show_path(path),
            message="it need not be set any more",
            old=True,
            new=False,
        )


def _same_meaning(a: JsonSchema, b: JsonSchema) -> bool:
    return constraint(a) == constraint(b) and all(is_same(a.get(key), b.get(key)) for key in _DEFAULTS)


def _compare_defaults(option: str, old: JsonSchema, new: JsonSchema) -> Iterator[Change]:
    before = {key: _read_keyword(old, key) for key in _DEFAULTS if key in old}
    after = {key: _read_keyword(new, key) for key in _DEFAULTS if key in new}
    if is_same(before, after):
        return
    if "x-nix-default-markdown" in before and "x-nix-default-markdown" in after:
        # Words about a default say nothing certain of it.
        yield Change(
            kind=ChangeKind.DOCS,
            option=option,
            message="the words for its default differ",
            old=before,
            new=after,
        )
        return
    yield Change(
        kind=ChangeKind.BREAKING,
        option=option,
        message=f"its default was {_show_default(before)} and is {_show_default(after)}",
        old=before or None,
        new=after or None,
    )


def _show_default(default: JsonSchema) -> str:
    if not default:
        return "none"
    value = next(iter(default.values()))
    text = json.dumps(value, ensure_ascii=False) if "default" in default else str(value)
    return cut(" ".join(text.split()))


def _read_keyword(option: JsonSchema, key: str) -> Any:
    """What a keyword says. Of a text, the white space says nothing: earlier exports left some of it out."""
    value = option.get(key)
    return " ".join(value.split()) if key in _TEXTS and isinstance(value, str) else value


def _compare_docs(option: str, old: JsonSchema, new: JsonSchema) -> Iterator[Change]:
    for key, what in _DOCS.items():
        if not is_same(_read_keyword(old, key), _read_keyword(new, key)):
            yield Change(
                kind=ChangeKind.DOCS,
                option=option,
                message=f"{what} differs",
                old=old.get(key),
                new=new.get(key),
            )
