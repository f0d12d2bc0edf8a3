"""What the kernel knows of a path without waiting for a disk: openat2(2) with RESOLVE_CACHED (Linux 5.12).

Python has no openat2: it is called by its number, which is the same on every architecture.
"""

from __future__ import annotations

import ctypes
import errno
import os

_OPENAT2 = 437  # <asm-generic/unistd.h>
_RESOLVE_CACHED = 0x20  # <linux/openat2.h>
_AT_FDCWD = -100


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


_HOW = _OpenHow(flags=os.O_PATH | os.O_CLOEXEC, mode=0, resolve=_RESOLVE_CACHED)
_syscall = ctypes.CDLL(None, use_errno=True).syscall


def stat_cached(path: bytes) -> os.stat_result | None:
    """stat(2) of ``path``, links followed; None where it would have to be waited for, or the kernel cannot
    tell. Raises OSError where there is no such file.
    """
    descriptor = _syscall(_OPENAT2, _AT_FDCWD, path, ctypes.byref(_HOW), ctypes.sizeof(_HOW))
    if descriptor < 0:
        number = ctypes.get_errno()
        # Older kernels, and system call filters that do not know it.
        if number in (errno.EAGAIN, errno.ENOSYS, errno.EINVAL, errno.EPERM):
            return None
        raise OSError(number, os.strerror(number), path)
    try:
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)
