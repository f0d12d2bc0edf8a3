"""Pages into a directory, or a directory's pages checked."""

from __future__ import annotations

import contextlib
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from ectools.files import FileError, sync_directory

if TYPE_CHECKING:
    from collections.abc import Mapping

_WRITERS = 4  # a disk takes fsyncs together; more threads than this wait for each other


def write_directory(directory: Path, pages: Mapping[str, bytes]) -> list[Path]:
    """Write every page into ``directory``, which is made where it is missing; returns their paths.

    No page is replaced before all are on the disk; one that is there already, byte for byte, is left alone.
    Raises FileError and leaves no temporary file behind.
    """
    paths = {directory / name: content for name, content in pages.items()}
    temporary: dict[Path, Path] = {}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(_WRITERS) as pool:
            jobs = [
                pool.submit(_write_temporary, path, content, temporary) for path, content in paths.items()
            ]
        for job in jobs:
            job.result()
        for path in paths:
            if path in temporary:
                temporary[path].replace(path)
                del temporary[path]
        sync_directory(directory)
    except OSError as error:
        raise FileError(f"{error.filename or directory}: cannot be written: {error.strerror}") from error
    finally:
        for written in temporary.values():
            with contextlib.suppress(OSError):
                written.unlink()
    return list(paths)


def _write_temporary(path: Path, content: bytes, temporary: dict[Path, Path]) -> None:
    """Put the content beside ``path``, fsynced, and note where; nothing where ``path`` has it already."""
    with contextlib.suppress(OSError):
        if path.stat().st_size == len(content) and path.read_bytes() == content:
            return
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:200]}.", dir=path.parent)
    temporary[path] = Path(name)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o644)
        file.write(content)
        file.flush()
        os.fsync(descriptor)


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
            stale.append(f"{path}: is not what the schemas say")
    endings = {Path(name).suffix for name in pages}
    for path in sorted(directory.iterdir()):
        if path.suffix in endings and path.name not in pages and not path.name.startswith("."):
            stale.append(f"{path}: is no page of these options")
    return stale
