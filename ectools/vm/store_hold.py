"""Directories of a Nix store, kept from its garbage collector for as long as they are in use.

The host may be switched to another system while the guest runs, and nothing of the new one refers to what
this guest boots from, nor to this program. A descriptor below ``/proc/PID/fd`` is a root of the collector
(nix-store(1), "--gc"; ``findRuntimeRoots`` in Nix's source), with all that its path refers to.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ectools.netboot.http.settings import STORE

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = Path(__file__).parent
"""Of what runs now: the boot HTTP server is started again where it ends."""


@contextlib.contextmanager
def hold_in_store(*directories: Path, store: Path = STORE) -> Iterator[None]:
    """Hold those that are in the store, by a link or without, for the length of the block.

    Others are not: an open directory would keep a file system from being unmounted.
    """
    with contextlib.ExitStack() as stack:
        for directory in directories:
            if Path(os.path.realpath(directory)).is_relative_to(store):
                descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                stack.callback(os.close, descriptor)
        yield
