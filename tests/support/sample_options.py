"""A schema of options that has one of everything that the documentation shows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

REDIRECTS = {
    "services.demo.bindPort": "services.demo.listenPort",
    "services.demo.listenPort": "services.demo.port",
    "services.old.port": "services.demo.port",
}

_DESCRIPTION = """\
Text with *emphasis*, **strength**, `code`, {option}`services.demo.port`, {option}`services.none`,
{file}`/etc/demo.conf`, {env}`DEMO` and {manpage}`demo(1)`; <b>no HTML</b> & no `</code>`.
.A line that starts with a dot, and a [link](https://example.org/a?b&c) beside an
[unsafe one](javascript:alert(1)),
an ![image](https://example.org/a.png), [](#opt-services.demo.port) and [a chapter](#sec-demo).

## A heading

- one
- two

  with a paragraph

  ```nix
  { a = "<b>"; }
  ```

3. three
4. four

> quoted

::: {.warning}
Mind `this`.

::: {.note}
And that.
:::
:::

hard\\
break \\ backslash 'quote' "quotes" - dash

    .indented 'code'
"""


def _option(kind: str, description: str, **rest: Any) -> dict[str, Any]:
    line = len(description)
    return {
        "description": description,
        **rest,
        "x-nix-type": kind,
        "x-nix-declarations": [f"modules/demo.nix#L{line}"],
    }


def make_schema() -> dict[str, Any]:
    """A document as ``ectools schema export`` writes them."""
    item = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "host": _option("string", "Where to.", type="string", pattern=r"^(?:[a-z]+)$(?!\n)"),
            "again": _option(
                "null or (submodule)", "More of it.", anyOf=[{"type": "null"}, {"$ref": "#/$defs/item"}]
            ),
        },
        "required": ["host"],
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "services.demo",
        "x-nix-path": ["services", "demo"],
        "type": "object",
        "additionalProperties": False,
        "required": ["token"],
        "properties": {
            "enable": _option(
                "boolean", "Whether to enable demo.", type="boolean", default=False, examples=[True]
            ),
            "port": _option(
                "16 bit unsigned integer",
                "Where it listens.",
                type="integer",
                minimum=0,
                maximum=65535,
                default=8080,
            ),
            "mode": _option("one of", _DESCRIPTION, enum=["a", 'b"', None]),
            "tags": _option(
                "non-empty (list of string)",
                "Tags.",
                type="array",
                minItems=1,
                items={"type": "string", "minLength": 1, "maxLength": 8},
                examples=[["a", "b"]],
            ),
            "ratio": _option("number", "How much.", type="number", exclusiveMinimum=0, exclusiveMaximum=1.5),
            "token": _option("string", "A secret.", type="string"),
            "version": _option("string", "What runs.", type="string", readOnly=True),
            "secret": _option("string", "For tests of demo.", type="string", **{"x-nix-internal": True}),
            "hidden": _option("string", "Nobody sees this.", type="string", **{"x-nix-visible": False}),
            "package": _option(
                "package",
                "The package.",
                type="string",
                **{"x-nix-default-text": "pkgs.demo", "x-nix-related-packages": "- `demo`\n- `demo-extra`"},
            ),
            "user": _option(
                "string",
                "Who runs it.",
                type="string",
                **{
                    "x-nix-default-markdown": "the name of {option}`services.demo.package`",
                    "x-nix-sep": ",",
                    "x-nix-unrepresentable": "it is checked further",
                },
            ),
            "to": {
                **_option("attribute set of (submodule)", "Places.", type="object"),
                "additionalProperties": {"$ref": "#/$defs/item"},
            },
            "free": _option("JSON value", "Anything.", **{"$ref": "#/$defs/json"}),
            'odd "name" <x>': _option("string", "An odd name.", type="string"),
        },
        "$defs": {
            "item": item,
            "json": {"anyOf": [{"type": "number"}, {"type": "array", "items": {"$ref": "#/$defs/json"}}]},
        },
    }


def write_schema(directory: Path) -> Path:
    """The schema's file."""
    path = directory / "demo.schema.json"
    path.write_text(json.dumps(make_schema()))
    return path


def write_redirects(directory: Path, table: object = None) -> Path:
    """A file of redirects: REDIRECTS, or what is given."""
    path = directory / "redirects.json"
    path.write_text(json.dumps(REDIRECTS if table is None else table))
    return path
