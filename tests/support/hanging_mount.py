"""A filesystem that hangs: whoever looks into it waits for an answer that does not come."""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path
from typing import TYPE_CHECKING

from support.needs import give_up, require_root

if TYPE_CHECKING:
    from collections.abc import Iterator

_MNT_DETACH = 2  # <sys/mount.h>
_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def hanging_mount(directory: Path) -> Iterator[None]:
    """FUSE on ``directory`` for the length of the block; its server, this process, never answers (fuse(4)).

    At the block's end those who wait get an error.
    """
    require_root("a mount that hangs")
    if not Path("/dev/fuse").exists():
        give_up("there is no /dev/fuse; load the module fuse")
    server = os.open("/dev/fuse", os.O_RDWR)
    try:
        options = f"fd={server},rootmode=40000,user_id=0,group_id=0,allow_other"
        if _libc.mount(b"hanging", os.fsencode(directory), b"fuse", 0, options.encode()):
            give_up(f"a FUSE filesystem cannot be mounted: {os.strerror(ctypes.get_errno())}")
        try:
            yield
        finally:
            _libc.umount2(os.fsencode(directory), _MNT_DETACH)
    finally:
        os.close(server)
