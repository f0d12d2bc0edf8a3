"""The directory of one run of a demo, removed by that run, or by the next one where it was killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ectools.errors import EcError
from ectools.files import hold_lock

if TYPE_CHECKING:
    from contextlib import ExitStack

_PREFIX = "ectools-demo-"
_RUNNING = ".running"
_WHAT = "a demo's directory"


def make_run_directory(undo: ExitStack, *, place: Path | None = None) -> Path:
    """A new directory in ``place``, or in that of temporary files, which ``undo`` removes.

    It is locked as long as this process lives. Those of runs that were killed are removed before.
    """
    parent = Path(tempfile.gettempdir() if place is None else place).absolute()
    remove_stale(parent)
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    undo.callback(shutil.rmtree, directory, ignore_errors=True)
    undo.enter_context(hold_lock(directory / _RUNNING, what=_WHAT))
    return directory


def leave_run_directory(directory: Path) -> None:
    """Let it stay, whatever runs next."""
    (directory / _RUNNING).unlink()


def remove_stale(parent: Path) -> None:
    """Remove the directories of this user's whose run has ended without doing so."""
    for directory in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError, EcError):
            found = directory.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                continue
            # One that has no such file is kept, or is being made.
            if not (directory / _RUNNING).exists():
                continue
            with hold_lock(directory / _RUNNING, what=_WHAT):
                shutil.rmtree(directory, ignore_errors=True)
