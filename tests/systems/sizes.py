"""The sizes of the flake's systems: measured, written to docs/SIZES.md, and held against what was recorded.

``./dev sizes`` builds each system of x86_64 with the nixpkgs that builds here. Figures are bytes. Those of
another nixpkgs are told apart by its hash (``narHash``), and are not compared.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
from support.buildable import build_environment, find_buildable_nixpkgs
from support.nixos_build import ROOT, Flake, open_flake

from .purposes import PURPOSES

if TYPE_CHECKING:
    from collections.abc import Mapping

RECORD = ROOT / "docs/sizes.json"
PAGE = ROOT / "docs/SIZES.md"
GROWTH_PERCENT = 5
_LARGEST = 10
_MIB = 1 << 20

IMAGES = {
    "ec-runner-x86_64": None,
    "ec-runner-x86_64-netboot": "netboot",
    "ec-runner-x86_64-iso": "isoImage",
    "ec-publisher-x86_64": None,
    "ec-publisher-x86_64-netboot": "netboot",
    "ecp-forge": None,
}
"""What is built of a system beside its toplevel: the attribute below ``config.system.build``."""


@dataclass(frozen=True, kw_only=True)
class LargePath:
    """A store path of a system. ``chain`` is why it is there: the names on the way from the system to it."""

    name: str
    size: int
    chain: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SystemSize:
    """``closure``: all store paths of a system. ``image``: the files of its image, None where it has none."""

    closure: int
    paths: int
    image: int | None
    largest: tuple[LargePath, ...]


@dataclass(frozen=True, kw_only=True)
class Record:
    """``nixpkgs``: the hash of the tree that the figures were made with."""

    nixpkgs: str
    systems: Mapping[str, SystemSize]


def read_record(text: str) -> Record:
    """``docs/sizes.json``."""
    raw = json.loads(text)
    systems = {
        name: SystemSize(**{**each, "largest": tuple(_read_path(path) for path in each["largest"])})
        for name, each in raw["systems"].items()
    }
    return Record(nixpkgs=raw["nixpkgs"], systems=systems)


def _read_path(raw: dict[str, Any]) -> LargePath:
    return LargePath(**{**raw, "chain": tuple(raw["chain"])})


def format_record(record: Record) -> str:
    """``docs/sizes.json``, the same for the same figures."""
    return json.dumps(asdict(record), indent=2) + "\n"


def find_growth(recorded: Record, measured: Record) -> list[str]:
    """What is more than ``GROWTH_PERCENT`` above the record, or has none.

    Of another nixpkgs nothing is told.
    """
    if recorded.nixpkgs != measured.nixpkgs:
        return []
    found = []
    for name, now in measured.systems.items():
        before = recorded.systems.get(name)
        if before is None:
            found.append(f"{name} has no recorded size: run ./dev sizes")
            continue
        for what, old, new in (
            ("closure", before.closure, now.closure),
            ("image", before.image, now.image),
        ):
            if old is not None and new is not None and new * 100 > old * (100 + GROWTH_PERCENT):
                share = new / old * 100 - 100
                found.append(
                    f"{name}: the {what} has grown from {old / _MIB:.1f} to {new / _MIB:.1f} MiB, "
                    f"by {share:.1f} %, and {GROWTH_PERCENT} % are allowed: find out why, "
                    "or record it with ./dev sizes"
                )
    return found


def format_page(record: Record) -> str:
    """``docs/SIZES.md``."""
    lines = [
        "# Sizes",
        "",
        "Written by `./dev sizes`, from `tests/systems/sizes.py`. A system or an image that grows by",
        f"more than {GROWTH_PERCENT} % fails a test (`tests/systems/test_system_sizes.py`). The figures are",
        "those of the nixpkgs with this hash, and say nothing of another:",
        "",
        f"    {record.nixpkgs}",
        "",
        "| system | closure, MiB | store paths | image, MiB |",
        "|---|---:|---:|---:|",
    ]
    lines += [
        f"| `{name}` | {each.closure / _MIB:.1f} | {each.paths} | "
        + ("none" if each.image is None else f"{each.image / _MIB:.1f}")
        + " |"
        for name, each in record.systems.items()
    ]
    for name, each in record.systems.items():
        lines += ["", f"## {name}", "", "| store path | MiB | there by |", "|---|---:|---|"]
        lines += [
            f"| `{path.name}` | {path.size / _MIB:.1f} | {' → '.join(f'`{step}`' for step in path.chain)} |"
            for path in each.largest
        ]
    lines += ["", "## What they are for", "", "| store path | what for |", "|---|---|"]
    lines += [f"| `{name}` | {PURPOSES[name]} |" for name in find_large_names(record)]
    return "\n".join(lines) + "\n"


def find_large_names(record: Record) -> list[str]:
    """The names of the largest store paths of all systems, without those that nobody has given a purpose."""
    names = {path.name for each in record.systems.values() for path in each.largest}
    return sorted(names & PURPOSES.keys())


def measure(flake: Flake) -> Record:
    """All systems of ``IMAGES``, built."""
    return Record(
        nixpkgs=_find_hash(flake),
        systems={name: measure_system(flake, name, image) for name, image in IMAGES.items()},
    )


def measure_system(flake: Flake, name: str, image: str | None) -> SystemSize:
    build = f"nixosConfigurations.{name}.config.system.build"
    toplevel = flake.build(f"{build}.toplevel")
    graph = _read_graph(flake, toplevel)
    largest = sorted(graph, key=lambda path: (-graph[path][0], path))[:_LARGEST]
    return SystemSize(
        closure=sum(size for size, _ in graph.values()),
        paths=len(graph),
        image=None if image is None else _measure_files(flake.build(f"{build}.{image}")),
        largest=tuple(
            LargePath(
                name=_name(path),
                size=graph[path][0],
                chain=tuple(
                    map(
                        _name,
                        find_chain({key: refs for key, (_, refs) in graph.items()}, str(toplevel), path),
                    )
                ),
            )
            for path in largest
        ),
    )


def find_chain(references: Mapping[str, list[str]], start: str, end: str) -> list[str]:
    """The shortest way by references, without ``start``; the first of several by their paths."""
    came: dict[str, str] = {}
    queue = [start]
    for path in queue:
        for each in sorted(references[path]):
            if each != start and each not in came:
                came[each] = path
                queue.append(each)
    chain = [end]
    while came[chain[-1]] != start:
        chain.append(came[chain[-1]])
    return chain[::-1]


def _name(path: str) -> str:
    return path.split("-", 1)[1]


def _read_graph(flake: Flake, toplevel: Path) -> dict[str, tuple[int, list[str]]]:
    """Size and references of each store path of a system: a list or an object, by nix's version."""
    argv = ["nix", "path-info", "--recursive", "--json", str(toplevel)]
    found = json.loads(subprocess.check_output(argv, env=dict(flake.env), text=True))
    entries = found if isinstance(found, list) else [{"path": path, **each} for path, each in found.items()]
    return {each["path"]: (each["narSize"], each["references"]) for each in entries}


def _measure_files(image: Path) -> int:
    return sum(file.stat().st_size for file in image.rglob("*") if file.is_file())


def _find_hash(flake: Flake) -> str:
    argv = ["nix", "flake", "metadata", "--json", f"path:{flake.nixpkgs}"]
    found = json.loads(subprocess.check_output(argv, env=dict(flake.env), text=True))
    return str(found["locked"]["narHash"])


@click.command("sizes", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--check", is_flag=True, help="Write nothing, and fail where one has grown by more than is allowed."
)
def main(*, check: bool) -> None:
    """Build all systems of x86_64, and write their sizes to docs/SIZES.md and docs/sizes.json.

    It takes a nixpkgs that builds here ($BUILDABLE_NIXPKGS or <debian-nixpkgs>), root, and minutes. Figures
    of another nixpkgs than the recorded ones are not compared.
    """
    if os.geteuid() != 0:
        raise click.ClickException("it takes root, to build in the store")
    try:
        env = build_environment()
        flake = open_flake(find_buildable_nixpkgs(env), env)
    except (pytest.skip.Exception, pytest.fail.Exception) as lacks:
        raise click.ClickException(str(lacks)) from None
    measured = measure(flake)
    if check:
        recorded = read_record(RECORD.read_text())
        if recorded.nixpkgs != measured.nixpkgs:
            click.echo(
                f"recorded with {recorded.nixpkgs}, measured with {measured.nixpkgs}: not compared", err=True
            )
        if grown := find_growth(recorded, measured):
            raise click.ClickException("\n".join(grown))
        return
    RECORD.write_text(format_record(measured))
    PAGE.write_text(format_page(measured))


if __name__ == "__main__":
    main()
