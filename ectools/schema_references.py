"""References of a JSON Schema, made pointers within its one document; whatever would lead out is named.

A reference may be written as a pointer (RFC 6901), as an anchor, by the document's own address, or by that of
a part of it (``$id``; ``id`` in draft 4), which moves the base of the references below it (RFC 3986, section
5; JSON Schema Core 2020-12, section 8.2; draft-04 core, section 7). Metaschemas of drafts 4, 6 and 7 are
known. Nothing is ever fetched.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urldefrag, urljoin

from ectools.names import quote_step, resolve_reference

if TYPE_CHECKING:
    from collections.abc import Iterator

_OLD = ("draft-04", "draft-06", "draft-07")
_NAMED = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})
_VALUES = frozenset({"const", "default", "enum", "examples"})
_SAME_VALUE = ("else", "if", "not", "then")
_SAME_VALUE_LISTS = ("allOf", "anyOf", "oneOf")
_SAME_VALUE_NAMED = ("dependencies", "dependentSchemas")
_METASCHEMAS = {
    "http://json-schema.org/draft-04/schema": "Draft4Validator",
    "http://json-schema.org/draft-06/schema": "Draft6Validator",
    "http://json-schema.org/draft-07/schema": "Draft7Validator",
}


class UnsupportedReferenceError(Exception):
    """A reference that cannot be followed within the document; the text names it and its place."""


def localize_references(document: dict[str, Any], dialect: str = "2020-12") -> dict[str, Any]:
    """A schema of the same meaning in which each ``$ref`` is a pointer from its root; itself where it is one.

    Raises UnsupportedReferenceError.
    """
    itself = "id" if dialect == "draft-04" else "$id"
    references = _find_local(document, {"$anchor", "$dynamicRef", "$recursiveRef", "$ref", itself})
    if references is None:
        localizer = _Localizer(document, dialect)
        document = localizer.localize()
        references = localizer.references
    _reject_circles(document, references, alone=dialect in _OLD)
    return document


def _find_local(document: dict[str, Any], watched: set[str]) -> set[str] | None:
    """The references where there is surely nothing to do, else None.

    That is where they are pointers, of which each leads to an object, and nothing has a base.
    """
    references: set[str] = set()
    pending: list[Any] = [inner for inner in document.values() if type(inner) in (dict, list)]
    if any(keyword in watched and keyword not in ("$id", "id") for keyword in document):
        return None
    while pending:
        node = pending.pop()
        if type(node) is list:
            pending += [each for each in node if type(each) in (dict, list)]
            continue
        for keyword, value in node.items():
            if type(value) is dict or type(value) is list:
                pending.append(value)
            elif keyword in watched and type(value) is str:
                if keyword != "$ref" or not value.startswith("#/"):
                    return None
                references.add(value)
    try:
        targets = [resolve_reference(reference, document) for reference in references]
    except KeyError:
        return None
    return references if all(type(target) is dict and "$ref" not in target for target in targets) else None


def _reject_circles(document: dict[str, Any], references: set[str], *, alone: bool) -> None:
    """Raise where a reference leads back to itself without a step into the value, which has no end.

    ``alone``: beside a reference nothing else counts.
    """
    following = {
        reference: [*_list_in_place(resolve_reference(reference, document), alone=alone)]
        for reference in references
    }
    settled: set[str] = set()
    for start in sorted(references):
        path: list[tuple[str, Iterator[str]]] = [(start, iter(following[start]))]
        while path and start not in settled:
            inside = [reference for reference, _ in path]
            reference, rest = path[-1]
            further = next(rest, None)
            if further is None:
                settled.add(reference)
                path.pop()
            elif further in inside:
                raise UnsupportedReferenceError(f"$ref is {further!r}, which leads to itself")
            elif further not in settled:
                path.append((further, iter(following[further])))


def _list_in_place(schema: Any, *, alone: bool) -> Iterator[str]:
    """The references of a schema that speak of the same value as it does."""
    if not isinstance(schema, dict):
        return
    if isinstance(schema.get("$ref"), str):
        yield schema["$ref"]
        if alone:
            return
    parts = [schema.get(keyword) for keyword in _SAME_VALUE]
    for keyword in _SAME_VALUE_LISTS:
        parts += schema.get(keyword, ())
    for keyword in _SAME_VALUE_NAMED:
        parts += schema.get(keyword, {}).values()
    for part in parts:
        yield from _list_in_place(part, alone=alone)


class _Localizer:
    """One document: where its parts stand by their addresses, and what its references mean."""

    def __init__(self, document: dict[str, Any], dialect: str) -> None:
        self.document = copy.deepcopy(document)
        self.dialect = dialect
        self.itself = "id" if dialect == "draft-04" else "$id"
        self.resources: dict[str, str] = {}
        self.anchors: dict[tuple[str, str], str] = {}
        self.metaschemas: set[str] = set()
        self.references: set[str] = set()

    def localize(self) -> dict[str, Any]:
        """The document with its references changed. Raises UnsupportedReferenceError."""
        parts = list(self._walk(self.document, "#", ""))
        given: dict[str, str] = {}
        for node, pointer, base in parts:
            for keyword in ("$dynamicRef", "$recursiveRef"):
                if isinstance(node.get(keyword), str):
                    raise UnsupportedReferenceError(
                        f"{_place(pointer)}/{keyword} is not supported: "
                        "it makes a reference mean something else"
                    )
            if isinstance(node.get("$ref"), str):
                given[pointer] = node["$ref"]
                node["$ref"] = self._find(node["$ref"], base, pointer)
        for node, pointer, _ in parts:
            if pointer != "#" and isinstance(node.get(self.itself), str):
                del node[self.itself]
        self._add_metaschemas()
        for node, pointer, _ in parts:
            if pointer in given:
                self._check(node["$ref"], f"{_place(pointer)}/$ref is {given[pointer]!r}")
        everything = self._walk(self.document, "#", "")
        self.references = {node["$ref"] for node, _, _ in everything if isinstance(node.get("$ref"), str)}
        return self.document

    def _walk(self, node: Any, pointer: str, base: str) -> Iterator[tuple[dict[str, Any], str, str]]:
        """Each schema, its pointer, and the address that its references are relative to."""
        if isinstance(node, list):
            for index, inner in enumerate(node):
                yield from self._walk(inner, f"{pointer}/{index}", base)
        if not isinstance(node, dict):
            return
        base = self._enter(node, pointer, base)
        yield node, pointer, base
        for keyword, value in node.items():
            inside = f"{pointer}/{_quote(keyword)}"
            if keyword in _NAMED and isinstance(value, dict):
                for name, inner in value.items():
                    yield from self._walk(inner, f"{inside}/{_quote(name)}", base)
            elif keyword not in _VALUES:
                yield from self._walk(value, inside, base)

    def _enter(self, node: dict[str, Any], pointer: str, base: str) -> str:
        """The base below ``node``, whose own names are noted."""
        address = node.get(self.itself)
        # Beside a reference the old drafts know no other keyword.
        if isinstance(address, str) and not (self.dialect in _OLD and "$ref" in node):
            if address.startswith("#"):
                self.anchors.setdefault((base, address[1:]), pointer)
            else:
                base = urldefrag(urljoin(base, address)).url
        if pointer == "#" or isinstance(address, str):
            self.resources.setdefault(base, pointer)
        anchor = node.get("$anchor")
        if isinstance(anchor, str):
            self.anchors.setdefault((base, anchor), pointer)
        return base

    def _find(self, reference: str, base: str, pointer: str) -> str:
        """The pointer that ``reference`` means where ``base`` is in force."""
        # Not by urljoin, which knows no fragment below an address like urn:x.
        address = base if reference.startswith("#") else urldefrag(urljoin(base, reference)).url
        fragment = unquote(reference.partition("#")[2])
        if address in _METASCHEMAS and address not in self.resources:
            self.metaschemas.add(address)
            start = f"#/definitions/{_quote(address)}"
        elif address in self.resources:
            start = self.resources[address]
        else:
            raise UnsupportedReferenceError(
                f"{_place(pointer)}/$ref is {reference!r}, which leads out of this document, "
                "and nothing is fetched"
            )
        if not fragment:
            return start
        if fragment.startswith("/"):
            return start + "".join(f"/{_quote(_unescape(step))}" for step in fragment[1:].split("/"))
        found = self.anchors.get((address, fragment))
        if found is None:
            raise UnsupportedReferenceError(f"{_place(pointer)}/$ref is {reference!r}, which leads nowhere")
        return found

    def _add_metaschemas(self) -> None:
        import jsonschema

        for address in self.metaschemas:
            metaschema = copy.deepcopy(getattr(jsonschema, _METASCHEMAS[address]).META_SCHEMA)
            start = f"#/definitions/{_quote(address)}"
            for node, _, _ in list(_Localizer({}, self.dialect)._walk(metaschema, "#", "")):
                if isinstance(node.get("$ref"), str):
                    node["$ref"] = start + node["$ref"].removeprefix("#")
            for keyword in ("$schema", "$id", "id"):
                metaschema.pop(keyword, None)
            self.document.setdefault("definitions", {})[address] = metaschema

    def _check(self, reference: str, what: str) -> None:
        """Raise where a reference leads to no schema, or round in a circle; ``what`` names it."""
        passed: set[str] = set()
        target: Any = {"$ref": reference}
        while isinstance(target, dict) and isinstance(target.get("$ref"), str):
            following = target["$ref"]
            fault = "leads to itself" if following in passed else None
            passed.add(following)
            try:
                target = resolve_reference(following, self.document) if fault is None else None
            except KeyError:
                fault = "leads nowhere"
            if fault is None and not isinstance(target, (dict, bool)):
                fault = "leads to what is no schema"
            if fault is not None:
                raise UnsupportedReferenceError(f"{what}, which {fault}")


def _quote(name: str) -> str:
    """A name as a step of a pointer; the dollar of ``$defs``, which a fragment may hold, is left as it is."""
    return quote_step(name).replace("%24", "$")


def _unescape(step: str) -> str:
    return step.replace("~1", "/").replace("~0", "~")


def _place(pointer: str) -> str:
    return unquote(pointer[1:])
