"""Pages into a folder, or a folder's pages checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def write_folder(folder: Path, pages: Mapping[str, bytes]) -> list[Path]:
    """Write every page below ``folder``, which is made where it is missing; returns their paths."""
    written = []
    for name, content in pages.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content)
        written.append(path)
    return written


def find_stale(folder: Path, pages: Mapping[str, bytes]) -> list[str]:
    """What in ``folder`` is not as the pages have it, one sentence for each file."""
    stale = []
    for name, content in pages.items():
        path = folder / name
        if not path.is_file():
            stale.append(f"{path}: is missing")
        elif path.read_bytes() != content:
            stale.append(f"{path}: is not what the schemas say")
    return stale
