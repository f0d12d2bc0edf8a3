"""The reference as JSON, for programs: one file, ``reference.json``.

    {"version": 1, "redirects": {FORMER NAME: NAME}, "modules": [{"name", "prefix", "options": [OPTION]}]}

An OPTION has every one of these keys; a later version of ectools may add some, and raises ``version`` where
it takes one away or gives it another meaning:

``name``, ``path``     dotted, and as a list; ``*`` stands for any index, ``<name>`` for any name
``anchor``             its id in the HTML and Markdown pages
``description``        CommonMark with NixOS's roles and admonitions; may be empty
``type``               in words
``constraints``        list of {"kind", "of", "values"}: ``of`` is empty, ``each item`` or ``each value``
``default``, ``example``  null, or {"kind": "nix" or "markdown", "text"}
``declarations``       list of {"file", "line", "url"}; the line and the link may be null
``relatedPackages``    CommonMark; may be empty
``required``, ``readOnly``, ``internal``  booleans
``formerly``           the names that it had
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ectools.docs.model import CodeExample, OptionDoc
    from ectools.docs.reference import Reference

DATA_FILE = "reference.json"
DATA_VERSION = 1


def write_pages(reference: Reference) -> dict[str, str]:
    """The one file, by its name."""
    document = {
        "version": DATA_VERSION,
        "redirects": dict(reference.redirects),
        "modules": [
            {
                "name": module.name,
                "prefix": module.prefix,
                "options": [_option(option) for option in module.options],
            }
            for module in reference.modules
        ],
    }
    return {DATA_FILE: json.dumps(document, indent=1, ensure_ascii=False) + "\n"}


def _option(option: OptionDoc) -> dict[str, Any]:
    return {
        "name": option.name,
        "path": list(option.path),
        "anchor": option.anchor,
        "description": option.description,
        "type": option.type,
        "constraints": [
            {"kind": constraint.label, "of": constraint.of, "values": list(constraint.data)}
            for constraint in option.constraints
        ],
        "default": _code(option.default),
        "example": _code(option.example),
        "declarations": [
            {"file": place.file, "line": place.line, "url": place.url} for place in option.declarations
        ],
        "relatedPackages": option.related_packages,
        "required": option.required,
        "readOnly": option.read_only,
        "internal": option.internal,
        "formerly": list(option.formerly),
    }


def _code(code: CodeExample | None) -> dict[str, str] | None:
    return None if code is None else {"kind": "markdown" if code.words else "nix", "text": code.text}
