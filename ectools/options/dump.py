"""The dump that ``nix/lib`` makes of options: its shape, and how to read it.

A dump is one JSON object: ``version``, ``emptyIsDefault``, ``roots`` (``{prefix, path}``: what declarations
are relative to), ``required`` (whether what has no default must be set; a dump without it says so), and
``trees`` (``{name, path, options, open}``). ``nix/lib/options.nix`` and ``nix/lib/types.nix``
say what an option and a type are; they stay plain dictionaries here: all of NixOS is some fifty thousand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ectools.errors import InputError
from ectools.files import read_json

if TYPE_CHECKING:
    from pathlib import Path

DUMP_VERSION = 1


@dataclass(frozen=True)
class Tree:
    """A set of options. ``path`` is where it stands; the paths of its options are relative to that.

    ``open`` are the groups, by such paths, that others declare options in too.
    """

    name: str
    path: tuple[str, ...]
    options: list[dict[str, Any]]
    open: frozenset[tuple[str, ...]] = frozenset()


@dataclass(frozen=True)
class Dump:
    """Trees of options. ``roots`` are pairs of a directory and what stands for it in a declaration.

    ``required``: what has no default must be set in submodules, and in a module of its own.
    """

    empty_is_default: bool
    roots: tuple[tuple[str, str], ...]
    trees: tuple[Tree, ...]
    required: bool = True


def parse_dump(data: Any) -> Dump:
    """A dump from its JSON value. Raises InputError where it is not one of this version."""
    if not isinstance(data, dict) or data.get("version") != DUMP_VERSION:
        raise InputError(
            f"not a dump of options of version {DUMP_VERSION}",
            hint="make it with the nix/lib that belongs to this ectools",
        )
    return Dump(
        empty_is_default=data["emptyIsDefault"],
        roots=tuple((root["path"].rstrip("/") + "/", root["prefix"]) for root in data["roots"]),
        trees=tuple(
            Tree(
                tree["name"],
                tuple(tree["path"]),
                tree["options"],
                frozenset(map(tuple, tree.get("open", ()))),
            )
            for tree in data["trees"]
        ),
        required=data.get("required", True),
    )


def hang_tree(tree: Tree) -> Tree:
    """The tree at the innermost group that holds all of its options, where it stood at the root."""
    groups = [tuple(option["path"][:-1]) for option in tree.options]
    path: tuple[str, ...] = ()
    for steps in zip(*groups, strict=False):
        if len(set(steps)) > 1:
            break
        path = (*path, steps[0])
    depth = len(path)
    return Tree(
        tree.name,
        path,
        [{**option, "path": option["path"][depth:]} for option in tree.options],
        frozenset(group[depth:] for group in tree.open if group[:depth] == path),
    )


def read_dump(path: Path) -> Dump:
    """A dump from its file. Raises FileError, InputError."""
    return parse_dump(read_json(path))


def decode_value(value: Any) -> Any:
    """A Nix value as JSON has it, from what ``nix/lib/value.nix`` encodes it to."""
    if isinstance(value, list):
        return [decode_value(item) for item in value]
    if isinstance(value, dict):
        if "float" in value:
            mantissa, exponent = value["float"]
            return math.ldexp(mantissa, exponent)
        return {name: decode_value(item) for name, item in value["set"].items()}
    return value
