"""Drift between two schemas of options, by meaning.

Breaking: a value that was valid no longer is, an option is gone, a default is another. Compatible: only more
is valid than before. Docs: what is valid and what is assumed are the same, only the words differ.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ectools.names import resolve, show_path
from ectools.options.inclusion import Inclusion

if TYPE_CHECKING:
    from collections.abc import Iterator

Schema = dict[str, Any]

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
_NOT_A_CONSTRAINT = {*_DOCS, *_DEFAULTS, "readOnly", "x-nix-sep", "title"}


class Kind(StrEnum):
    """How bad a change is, the worst last."""

    DOCS = "docs"
    COMPATIBLE = "compatible"
    BREAKING = "breaking"


@dataclass(frozen=True, kw_only=True)
class Change:
    """One difference: the dotted path of the option, and what differs, None where it is absent."""

    kind: Kind
    option: str
    message: str
    old: Any = None
    new: Any = None

    def render(self) -> str:
        return f"{self.kind}: {self.option}: {self.message}"


def compare(old: Schema, new: Schema) -> list[Change]:
    """Every difference of meaning between two documents, in the order of their options."""
    return list(_Comparison(old, new).run())


def worst(changes: list[Change]) -> Kind | None:
    """The worst kind among ``changes``; None where there is none."""
    order = list(Kind)
    return max((change.kind for change in changes), key=order.index, default=None)


class _Comparison:
    def __init__(self, old: Schema, new: Schema) -> None:
        self.old = old
        self.new = new
        self.inclusion = Inclusion(old, new)
        self._below: set[tuple[int, int]] = set()  # pairs of objects, so that types which hold themselves end

    def run(self) -> Iterator[Change]:
        if self.old.get("x-nix-path") != self.new.get("x-nix-path"):
            yield Change(
                kind=Kind.BREAKING,
                option=show_path(self.new.get("x-nix-path", [])),
                message="the options stand at another place",
                old=self.old.get("x-nix-path"),
                new=self.new.get("x-nix-path"),
            )
        yield from self._objects(self.old, self.new, tuple(self.new.get("x-nix-path", [])))

    def _objects(self, old: Schema, new: Schema, path: tuple[str, ...]) -> Iterator[Change]:
        if (id(old), id(new)) in self._below:
            return
        self._below.add((id(old), id(new)))
        yield from self._further_names(old, new, path)
        before, after = old.get("properties", {}), new.get("properties", {})
        for name in sorted({*before, *after}):
            here = (*path, name)
            required = (name in old.get("required", ()), name in new.get("required", ()))
            if name not in after:
                yield self._removed(before[name], here, after={n: after[n] for n in after if n not in before})
            elif name not in before:
                yield from self._added(after[name], here, required=required[1])
            else:
                yield from self._requirement(here, required)
                yield from self._properties(before[name], after[name], here)

    def _further_names(self, old: Schema, new: Schema, path: tuple[str, ...]) -> Iterator[Change]:
        before, after = old.get("additionalProperties", True), new.get("additionalProperties", True)
        if not self.inclusion.holds(before, after):
            message, kind = "further names take less than before, or are not allowed any more", Kind.BREAKING
        elif not self.inclusion.reversed().holds(after, before):
            message, kind = "further names are allowed, or take more than before", Kind.COMPATIBLE
        else:
            return
        yield Change(kind=kind, option=show_path((*path, "<name>")), message=message, old=before, new=after)

    def _requirement(self, path: tuple[str, ...], required: tuple[bool, bool]) -> Iterator[Change]:
        if required == (False, True):
            yield Change(
                kind=Kind.BREAKING, option=show_path(path), message="it must be set now", old=False, new=True
            )
        elif required == (True, False):
            yield Change(
                kind=Kind.COMPATIBLE,
                option=show_path(path),
                message="it need not be set any more",
                old=True,
                new=False,
            )

    def _removed(self, gone: Schema, path: tuple[str, ...], after: dict[str, Schema]) -> Change:
        like = [name for name, option in after.items() if _same_meaning(gone, option)]
        renamed = f"; {show_path((*path[:-1], like[0]))} is new and takes the same" if len(like) == 1 else ""
        return Change(kind=Kind.BREAKING, option=show_path(path), message=f"it is gone{renamed}", old=gone)

    def _added(self, option: Schema, path: tuple[str, ...], *, required: bool) -> Iterator[Change]:
        yield Change(
            kind=Kind.BREAKING if required else Kind.COMPATIBLE,
            option=show_path(path),
            message="it is new and must be set" if required else "it is new",
            new=option,
        )

    def _properties(self, old: Schema, new: Schema, path: tuple[str, ...]) -> Iterator[Change]:
        if _is_group(old) and _is_group(new):
            yield from self._objects(old, new, path)
            return
        option = show_path(path)
        yield from _compare_defaults(option, old, new)
        if bool(new.get("readOnly")) != bool(old.get("readOnly")):
            yield Change(
                kind=Kind.BREAKING if new.get("readOnly") else Kind.COMPATIBLE,
                option=option,
                message="it is read-only now" if new.get("readOnly") else "it is not read-only any more",
            )
        yield from self._types(old, new, path)
        yield from _compare_docs(option, old, new)

    def _types(self, old: Schema, new: Schema, path: tuple[str, ...]) -> Iterator[Change]:
        inner_old, inner_new = self._inner(old, self.old, path), self._inner(new, self.new, path)
        if len(inner_old) == len(inner_new):
            # What differs inside a submodule is reported there, by its own option.
            opaque = {id(a): id(b) for (_, a), (_, b) in zip(inner_old, inner_new, strict=True)}
        else:
            inner_old, inner_new, opaque = [], [], {}
        wider = self.inclusion.holds(old, new, opaque)
        if not wider:
            yield Change(
                kind=Kind.BREAKING,
                option=show_path(path),
                message="values that were valid are not any more",
                old=constraint(old),
                new=constraint(new),
            )
        elif not self.inclusion.reversed().holds(new, old, {b: a for a, b in opaque.items()}):
            yield Change(
                kind=Kind.COMPATIBLE,
                option=show_path(path),
                message="more values are valid than before",
                old=constraint(old),
                new=constraint(new),
            )
        for (where, a), (_, b) in zip(inner_old, inner_new, strict=True):
            yield from self._objects(a, b, where)

    def _inner(self, node: Any, root: Schema, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], Schema]]:
        """The outermost objects with options of their own inside a type, with their paths."""
        found: list[tuple[tuple[str, ...], Schema]] = []
        seen: set[int] = set()

        def walk(node: Any, path: tuple[str, ...]) -> None:
            if not isinstance(node, dict) or id(node) in seen:
                return
            seen.add(id(node))
            if "$ref" in node:
                walk(resolve(node["$ref"], root), path)
            elif "properties" in node:
                found.append((path, node))
            else:
                for branch in (*node.get("anyOf", ()), *node.get("allOf", ())):
                    walk(branch, path)
                walk(node.get("items"), (*path, "*"))
                walk(node.get("additionalProperties"), (*path, "<name>"))

        walk(node, path)
        return found


def constraint(option: Schema) -> Schema:
    """What an option's schema says of its values, without the rest."""
    return {key: value for key, value in option.items() if key not in _NOT_A_CONSTRAINT}


def _is_group(node: Schema) -> bool:
    return "properties" in node and "x-nix-type" not in node


def _same_meaning(a: Schema, b: Schema) -> bool:
    return constraint(a) == constraint(b) and all(_same(a.get(key), b.get(key)) for key in _DEFAULTS)


def _same(a: Any, b: Any) -> bool:
    """Whether two JSON values are the same, 1 and 1.0 and true apart, as Nix sees them."""
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


def _compare_defaults(option: str, old: Schema, new: Schema) -> Iterator[Change]:
    before = {key: old[key] for key in _DEFAULTS if key in old}
    after = {key: new[key] for key in _DEFAULTS if key in new}
    if _same(before, after):
        return
    if "x-nix-default-markdown" in before and "x-nix-default-markdown" in after:
        # Words about a default say nothing certain of it.
        yield Change(
            kind=Kind.DOCS, option=option, message="the words for its default differ", old=before, new=after
        )
        return
    yield Change(
        kind=Kind.BREAKING,
        option=option,
        message=f"its default was {_show_default(before)} and is {_show_default(after)}",
        old=before or None,
        new=after or None,
    )


def _show_default(default: Schema) -> str:
    if not default:
        return "none"
    value = next(iter(default.values()))
    return json.dumps(value, ensure_ascii=False) if "default" in default else str(value)


def _compare_docs(option: str, old: Schema, new: Schema) -> Iterator[Change]:
    for key, what in _DOCS.items():
        if not _same(old.get(key), new.get(key)):
            yield Change(
                kind=Kind.DOCS, option=option, message=f"{what} differs", old=old.get(key), new=new.get(key)
            )
