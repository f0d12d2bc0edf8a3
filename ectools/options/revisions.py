"""The schemas of a path, or of a git revision of the checkout that one stands in."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ectools.errors import InputError
from ectools.processes import ProcessError, run

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDER = "schemas"
_GIT_SECONDS = 60


@contextlib.contextmanager
def open_schemas(name: str) -> Iterator[Path]:
    """``name`` as a path where there is one; else the committed schemas of the git revision ``name``.

    The folder lives as long as the block. Raises InputError where there is neither.
    """
    if name and Path(name).exists():
        yield Path(name)
        return
    try:
        top = _git("rev-parse", "--show-toplevel").strip()
        revision = _git("rev-parse", "--verify", "--end-of-options", f"{name}^{{commit}}").strip()
        files = _git("-C", top, "ls-tree", "--name-only", "-z", f"{revision}:{_FOLDER}").split("\0")
    except ProcessError as error:
        raise InputError(
            f"{name}: no such file or folder, and no git revision here with a folder {_FOLDER}"
        ) from error
    with tempfile.TemporaryDirectory(prefix="ectools-schemas-") as folder:
        for file in filter(None, files):
            content = _git("-C", top, "cat-file", "blob", f"{revision}:{_FOLDER}/{file}")
            (Path(folder) / file).write_text(content, encoding="utf-8")
        yield Path(folder)


def _git(*arguments: str) -> str:
    return run(["git", *arguments], timeout=_GIT_SECONDS).stdout
