"""The schemas, or the files, of a path or of a git revision of the checkout that one stands in."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ectools.errors import InputError
from ectools.processes import ProcessError, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_DIRECTORY = "schemas"
_GIT_SECONDS = 60


@contextlib.contextmanager
def open_schemas(name: str) -> Iterator[Path]:
    """``name`` as a path where there is one; else the committed schemas of the git revision ``name``.

    The directory lives as long as the block. Raises InputError where there is neither.
    """
    if name and Path(name).exists():
        yield Path(name)
        return
    try:
        top = _git("rev-parse", "--show-toplevel").strip()
        revision = _git("rev-parse", "--verify", "--end-of-options", f"{name}^{{commit}}").strip()
        files = _git("-C", top, "ls-tree", "--name-only", "-z", f"{revision}:{_DIRECTORY}").split("\0")
    except ProcessError as error:
        raise InputError(
            f"{name}: no such file or directory, and no git revision here with a directory {_DIRECTORY}"
        ) from error
    with tempfile.TemporaryDirectory(prefix="ectools-schemas-") as directory:
        for file in filter(None, files):
            content = _git("-C", top, "cat-file", "blob", f"{revision}:{_DIRECTORY}/{file}")
            (Path(directory) / file).write_text(content, encoding="utf-8")
        yield Path(directory)


@contextlib.contextmanager
def open_revision(name: str) -> Iterator[Path]:
    """The current directory as the git revision ``name`` has it, ``.`` for as it is now.

    The files of the whole revision lie around it; they live as long as the block. Raises InputError.
    """
    if name == ".":
        yield Path.cwd()
        return
    try:
        top = _git("rev-parse", "--show-toplevel").strip()
        below = _git("rev-parse", "--show-prefix").strip()
        revision = _git("rev-parse", "--verify", "--end-of-options", f"{name}^{{commit}}").strip()
    except ProcessError as error:
        raise InputError(
            f"{name}: no git revision here", hint="what is in the directory now is `.`"
        ) from error
    with tempfile.TemporaryDirectory(prefix="ectools-revision-") as directory:
        tree = Path(directory, "tree")
        # An index of its own: the user's stays as it is. `git archive` would leave out what is export-ignore.
        index = {**os.environ, "GIT_INDEX_FILE": f"{directory}/index"}
        _git("-C", top, "read-tree", revision, env=index)
        _git("-C", top, "checkout-index", "--all", f"--prefix={tree}/", env=index)
        if not (tree / below).is_dir():
            raise InputError(f"{name}: has no directory {below}")
        yield tree / below


def _git(*arguments: str, env: Mapping[str, str] | None = None) -> str:
    return run(["git", *arguments], timeout=_GIT_SECONDS, env=env).stdout
