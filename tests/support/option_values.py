"""The options of a schema, and values for each: what the module must take, made of the schema alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, Phase, find, settings
from hypothesis import strategies as st

from ectools.options.types import STORE_PATH
from ectools.schemas import Schema

PACKAGE = {"package": "hello"}
"""How tests/eval/system.nix writes a package."""

_FIND = settings(
    database=None, derandomize=True, phases=[Phase.generate, Phase.shrink], suppress_health_check=HealthCheck
)


@dataclass(frozen=True)
class Option:
    """``service`` is the name below services.every-channel; ``values`` differ from the default."""

    service: str
    path: tuple[str, ...]
    schema: dict[str, Any]

    @property
    def name(self) -> str:
        return ".".join((self.service, *self.path))

    @property
    def values(self) -> list[Any]:
        """Each once, the best example first. Raises LookupError where the schema does not say enough."""
        found = list(_values(self.schema, self.schema))
        if not found:
            raise LookupError(f"{self.name}: the schema shows no value that could be set; give it an example")
        return [value for index, value in enumerate(found) if value not in found[:index]]

    def set_to(self, value: Any) -> dict[str, Any]:
        """A configuration with this option alone."""
        for step in reversed(("services", "every-channel", self.service, *self.path)):
            value = {step: value}
        config: dict[str, Any] = value
        return config

    def get(self, services: Any) -> Any:
        """The option's value in what ``services.every-channel`` is."""
        for step in (self.service, *self.path):
            services = services[step]
        return services


def list_options(schema: Schema) -> list[Option]:
    """Every option of a module, in the schema's order."""
    service = schema.document["x-nix-path"][-1]

    def walk(node: dict[str, Any], path: tuple[str, ...]) -> Iterator[Option]:
        if "x-nix-type" in node:
            yield Option(service, path, node)
            return
        for name, child in node["properties"].items():
            yield from walk(child, (*path, name))

    return list(walk(schema.document, ()))


def _values(node: dict[str, Any], option: dict[str, Any]) -> Iterator[Any]:
    """Values of ``node``, which is the option's schema or a branch of it."""
    default = option.get("default")
    for value in _candidates(node, option):
        if "default" not in option or json.dumps(value) != json.dumps(default):
            yield value


def _candidates(node: dict[str, Any], option: dict[str, Any]) -> Iterator[Any]:
    yield from node.get("examples", ())
    if "anyOf" in node:
        for branch in node["anyOf"]:
            # An example stands for what its branches would make up.
            if branch == {"type": "null"} or "examples" not in node:
                yield from _candidates(branch, option)
    elif "enum" in node:
        yield from node["enum"]
    elif node["type"] == "null":
        yield None
    elif node["type"] == "boolean":
        yield from (True, False)
    elif node["type"] == "integer":
        yield node["minimum"]
        yield min(node["maximum"], option.get("default", node["minimum"]) + 1)
    elif node["type"] == "array":
        yield []
    elif node["type"] == "object":
        yield {}
    elif node.get("pattern") == STORE_PATH:
        yield PACKAGE
    elif "examples" not in node:
        yield from _texts(node, option)


def _texts(node: dict[str, Any], option: dict[str, Any]) -> Iterator[str]:
    default = option.get("default")
    if "pattern" in node:
        yield find(
            st.from_regex(node["pattern"], fullmatch=True), lambda text: text != default, settings=_FIND
        )
    elif isinstance(default, str):
        yield f"{default}-x"
