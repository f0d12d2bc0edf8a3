"""A network and mounts that are this process's and its children's alone, by root or without it.

The kernel removes them, with all links and named namespaces in them, when the last of these processes ends,
however it ends. Without root they stand in a user namespace (user_namespaces(7)) in which the user stays who
they are: files keep their owners, and a program finds itself not to be root, as in a hardened unit.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ectools.capabilities import Capability, handed_on
from ectools.errors import EcError

if TYPE_CHECKING:
    from collections.abc import Iterator

# <linux/sched.h> and <linux/mount.h>
_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_MS_REC = 0x4000
_MS_PRIVATE = 0x40000

_RIGHTS = (
    Capability.NET_ADMIN,
    Capability.NET_RAW,
    Capability.NET_BIND_SERVICE,
    Capability.SYS_ADMIN,
)
_ALLOW = (
    "run it as root (sudo), or let users make namespaces: sysctl -w kernel.unprivileged_userns_clone=1 "
    "(Debian), kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu), user.max_user_namespaces=10000"
)


class NamespaceError(EcError):
    """No namespaces can be made here."""


@contextlib.contextmanager
def own_namespaces() -> Iterator[None]:
    """Enter them, for good; the programs that are started in the block may set the network up.

    ``/run`` is an empty directory in them, so that ``ip netns`` has its names to itself. The process must not
    have a second thread. Raises NamespaceError.
    """
    uid, gid = os.geteuid(), os.getegid()
    as_user = uid != 0
    try:
        _call("unshare", _CLONE_NEWNS | _CLONE_NEWNET | (_CLONE_NEWUSER if as_user else 0))
        if as_user:
            _write_maps(uid, gid)
        _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
        _mount("tmpfs", "/run", "tmpfs", 0)
    except OSError as error:
        why = "no namespaces can be made here"
        hint = _ALLOW if as_user else "root lacks CAP_SYS_ADMIN here, as in a container: run it outside"
        if error.errno not in (errno.EPERM, errno.EACCES, errno.ENOSPC):
            hint = "the kernel must have network and mount namespaces (CONFIG_NET_NS, CONFIG_USER_NS)"
        raise NamespaceError(f"{why}: {error.filename}: {error.strerror}", hint=hint) from error
    with handed_on(*_RIGHTS):
        yield


def _write_maps(uid: int, gid: int) -> None:
    """The user's and the group's own numbers, the only ones there are (user_namespaces(7))."""
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {uid} 1"),
        ("gid_map", f"{gid} {gid} 1"),
    ):
        Path(f"/proc/self/{name}").write_text(text)


def _mount(source: str | None, target: str, kind: str | None, flags: int) -> None:
    words = [None if word is None else word.encode() for word in (source, target, kind)]
    _call("mount", *words, ctypes.c_ulong(flags), None, what=f"mount {target}")


def _call(name: str, *arguments: object, what: str | None = None) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what or name)
