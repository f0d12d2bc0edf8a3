"""Pages into a directory, or a directory's pages checked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ectools.files import FileError, write_all_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping


def write_directory(directory: Path, pages: Mapping[str, bytes]) -> list[Path]:
    """Write every page into ``directory``, which is made where it is missing; returns their paths.

    No page is replaced before all are on the disk; one that is there already, byte for byte, is left alone.
    Raises FileError and leaves no temporary file behind.
    """
    paths = {directory / name: content for name, content in pages.items()}
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"{directory}: cannot be written: {error.strerror}") from error
    write_all_atomic({path: content for path, content in paths.items() if not _has(path, content)})
    return list(paths)


def _has(path: Path, content: bytes) -> bool:
    try:
        return path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError:
        return False


def find_stale(directory: Path, pages: Mapping[str, bytes]) -> list[str]:
    """What in ``directory`` is not as the pages have it, one sentence for each file.

    Files that end like one of the pages but are none of them are named too: they were left by an option or a
    module that is gone.
    """
    stale = []
    for name, content in pages.items():
        path = directory / name
        if not path.is_file():
            stale.append(f"{path}: is missing")
        elif path.read_bytes() != content:
            stale.append(f"{path}: is not what would be written")
    endings = {Path(name).suffix for name in pages}
    for path in sorted(directory.iterdir()):
        if path.suffix in endings and path.name not in pages and not path.name.startswith("."):
            stale.append(f"{path}: is no page of these")
    return stale
