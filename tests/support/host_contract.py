"""The schema of a made-up module with an option of each type, for tests of host descriptions."""

from __future__ import annotations

from typing import Any

from ectools.host.combined_schema import build_combined_schema
from ectools.options.types import STORE_PATH
from ectools.schemas import Schema

_NULL = {"type": "null"}


def _option(kind: str, line: int, **schema: Any) -> dict[str, Any]:
    return {
        "description": f"The {{option}}`{kind}` of it.\n\nMore on that.",
        "x-nix-type": kind,
        "x-nix-declarations": [f"nix/modules/test.nix#L{line}"],
        **schema,
    }


_DISK = {
    "type": "object",
    "properties": {
        "path": _option("string", 20, type="string"),
        "sizeGiB": _option("positive integer", 21, type="integer", minimum=1, default=10),
        "mode": _option("one of", 22, enum=["raw", "qcow2"], default="raw"),
    },
    "required": ["path"],
    "additionalProperties": False,
}

MODULE: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "x-nix-path": ["services", "test"],
    "type": "object",
    "properties": {
        "enable": _option("boolean", 1, type="boolean", default=False),
        "package": _option(
            "package", 2, type="string", pattern=STORE_PATH, **{"x-nix-default-text": "pkgs.hello"}
        ),
        "extraPackages": _option(
            "list of package", 3, type="array", items={"type": "string", "pattern": STORE_PATH}, default=[]
        ),
        "fallback": _option(
            "null or package", 4, anyOf=[_NULL, {"type": "string", "pattern": STORE_PATH}], default=None
        ),
        "name": _option("string", 5, type="string", default="test"),
        "port": _option("16 bit unsigned integer", 6, type="integer", minimum=0, maximum=65535, default=8080),
        "offset": _option(
            "signed integer", 7, type="integer", minimum=-(2**63), maximum=2**63 - 1, default=-1
        ),
        "ratio": _option("floating point number", 8, type="number", default=0.5),
        "weights": _option(
            "list of floating point number", 9, type="array", items={"type": "number"}, default=[]
        ),
        "amount": _option("signed integer or floating point number", 10, type="number", default=1),
        "mode": _option("one of", 11, enum=["bridge", "private", "passthru"], default="bridge"),
        "root": _option("null or path", 12, anyOf=[_NULL, {"type": "string", "pattern": "^/"}], default=None),
        "size": _option("matching", 13, type="string", pattern=r"^(?:[0-9]+[KMGT]?)$(?!\n)", default="16G"),
        "args": _option("list of string", 14, type="array", items={"type": "string"}, default=[]),
        "servers": _option(
            "non-empty list", 15, type="array", items={"type": "string"}, minItems=1, default=["1.1.1.1"]
        ),
        "env": _option(
            "attribute set of",
            16,
            type="object",
            additionalProperties={"anyOf": [{"type": "string"}, {"type": "integer"}]},
        ),
        "disks": _option(
            "attribute set of (submodule)", 17, type="object", additionalProperties={"$ref": "#/$defs/disk"}
        ),
        "disk": _option("null or (submodule)", 18, anyOf=[_NULL, {"$ref": "#/$defs/disk"}], default=None),
        "listen": {
            "type": "object",
            "properties": {
                "address": _option("string", 30, type="string", default="127.0.0.1"),
                "tls": {
                    "type": "object",
                    "properties": {"enable": _option("boolean", 31, type="boolean", default=False)},
                    "additionalProperties": False,
                },
            },
            "additionalProperties": False,
        },
    },
    "additionalProperties": False,
    "$defs": {"disk": _DISK},
}

CONTRACT: Schema = build_combined_schema([Schema(MODULE, "test", "services.test")])
"""What a host description may say of that module."""
