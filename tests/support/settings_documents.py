"""Settings documents that a schema takes: a few options at their limits, or with a text that nearly fits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from support.differential import values_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ectools.schemas import Schema


def list_options(node: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """The dotted name of every option below ``node``, and its schema."""
    for name, option in node["properties"].items():
        if "properties" in option and "x-nix-type" not in option:
            yield from list_options(option, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", option


def nest(values: Mapping[str, Any]) -> dict[str, Any]:
    """``{"a.b": 1}`` as ``{"a": {"b": 1}}``."""
    document: dict[str, Any] = {}
    for option, value in values.items():
        *directories, name = option.split(".")
        inner = document
        for directory in directories:
            inner = inner.setdefault(directory, {})
        inner[name] = value
    return document


def documents(
    schema: Schema, base: Mapping[str, Any], texts: Mapping[str, Sequence[Any]]
) -> st.SearchStrategy[dict[str, Any]]:
    """Documents for ``schema``: ``base`` (dotted option → value), and at most five options changed.

    ``texts``: dotted option → values that programs take, or nearly do; the items, where it is a list.
    """
    options = dict(list_options(schema.document))
    assert texts.keys() <= options.keys()
    chosen = st.lists(st.sampled_from(sorted(options)), max_size=5, unique=True)
    changes = chosen.flatmap(
        lambda names: st.fixed_dictionaries(
            {name: _values(options[name], schema.document, texts.get(name)) for name in names}
        )
    )
    return changes.map(lambda values: nest({**base, **values}))


def _values(
    option: dict[str, Any], root: dict[str, Any], texts: Sequence[Any] | None
) -> st.SearchStrategy[Any]:
    if texts is not None:
        fitting = st.sampled_from(texts)
        return st.lists(fitting, max_size=3) if option.get("type") == "array" else fitting
    return values_for(option, root).filter(
        Draft202012Validator({**option, "$defs": root.get("$defs", {})}).is_valid
    )
