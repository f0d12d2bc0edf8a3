"""Packages of another Debian release than this system's, unpacked in the cache.

Nothing is installed, and the system's apt does not learn of it.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ectools.demo.payload import PayloadError, cache_directory
from ectools.files import hold_lock
from ectools.processes import find_program, run

if TYPE_CHECKING:
    from collections.abc import Sequence

_ELSEWHERE = "this is Debian's package manager"
_OTHERS_SECONDS = 1800.0
"""How long another caller may take to download."""


def find_ipxe_tree(suite: str) -> Path:
    """``find_suite_tree`` of iPXE, whose binaries stand in ``usr/lib/ipxe``."""
    return find_suite_tree(suite, "ipxe", ("ipxe", "ipxe-qemu"))


def find_suite_tree(
    suite: str, name: str, packages: Sequence[str], *, architecture: str | None = None
) -> Path:
    """A tree of packages of a suite (``trixie``), from the cache or made there; ``name``: of its directory.

    ``architecture``: Debian's name of another one than this machine's. A kernel's metapackage
    (``linux-image-cloud-arm64``) is the kernel that it stands for. Raises PayloadError where this is no
    Debian, ProcessError where the packages cannot be had.
    """
    find_program("apt-get", hint=_ELSEWHERE)
    cache = cache_directory()
    tree = cache / f"{name}-{suite}"
    cache.mkdir(parents=True, exist_ok=True)
    with hold_lock(cache / f"{tree.name}.lock", what=str(tree), wait_seconds=_OTHERS_SECONDS):
        if not tree.is_dir():
            with tempfile.TemporaryDirectory(prefix=f".{tree.name}.", dir=cache) as work:
                _unpack_packages(suite, packages, Path(work), architecture)
                (Path(work) / "tree").rename(tree)
    return tree


def _unpack_packages(suite: str, packages: Sequence[str], work: Path, architecture: str | None) -> None:
    """By an apt with lists, sources and state of its own."""
    for directory in ("lists/partial", "archives/partial", "sources", "deb", "tree"):
        (work / directory).mkdir(parents=True)
    (work / "status").touch()
    _write_sources(suite, work / "sources")
    settings: dict[str, Path | str] = {
        "Dir::State": work,
        "Dir::State::lists": work / "lists",
        "Dir::State::status": work / "status",
        "Dir::Cache": work,
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": work / "sources",
        "APT::Sandbox::User": "root",
    }
    if architecture is not None:
        settings |= {"APT::Architecture": architecture, "APT::Architectures": architecture}
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    run(["apt-get", *options, "-qq", "update"], timeout=600)
    names = [_find_kernel_package(each, options) if "linux-image" in each else each for each in packages]
    run(["apt-get", *options, "-qq", "download", *names], cwd=work / "deb", timeout=600)
    for archive in (work / "deb").glob("*.deb"):
        run(["dpkg-deb", "--extract", str(archive), str(work / "tree")], timeout=120)


def _find_kernel_package(metapackage: str, options: Sequence[str]) -> str:
    depends = run(["apt-cache", *options, "depends", "--important", metapackage], timeout=120).stdout
    found = re.search(r"Depends: (linux-image-\d\S+)", depends)
    if found is None:
        raise PayloadError(f"{metapackage}: apt knows no kernel package of that name")
    return found[1]


def _write_sources(suite: str, directory: Path) -> None:
    """The system's own sources of its release, with another suite's name."""
    release = Path("/etc/os-release").read_text()
    found = re.search(r"^VERSION_CODENAME=(\w+)$", release, re.MULTILINE)
    if found is None:
        raise PayloadError(
            "this system's release has no code name: its package sources tell nothing of another one's"
        )
    here = found[1]
    one_line = re.compile(rf"^(deb\s+(?:\[[^\]]*\]\s+)?\S+\s+){here}(\s.*)$")
    for file in (Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*.list")):
        lines = file.read_text().splitlines() if file.exists() else []
        matched = [match for match in map(one_line.match, lines) if match]
        if matched:
            text = "".join(f"{match[1]}{suite}{match[2]}\n" for match in matched)
            (directory / file.with_suffix(".list").name).write_text(text)
    for file in Path("/etc/apt/sources.list.d").glob("*.sources"):
        stanzas = [
            re.sub(r"^Suites:.*$", f"Suites: {suite}", stanza, flags=re.MULTILINE)
            for stanza in re.split(r"\n\s*\n", file.read_text())
            if re.search(rf"^Suites:(.*\s)?{here}(\s.*)?$", stanza, re.MULTILINE)
        ]
        if stanzas:
            (directory / file.name).write_text("\n\n".join(stanzas) + "\n")
