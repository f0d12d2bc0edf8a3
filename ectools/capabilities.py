"""Capabilities (capabilities(7)) of this thread: asked for, put in force for a moment, given up, handed on.

Not by libcap or python-prctl: for three system calls, each of them takes a compiler.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from ectools.errors import EcError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

# <linux/prctl.h> and <linux/capability.h>
_PR_SET_PDEATHSIG = 1
_PR_GET_PDEATHSIG = 2
_PR_SET_KEEPCAPS = 8
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_IS_SET = 1
_PR_CAP_AMBIENT_RAISE = 2
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_VERSION = 0x20080522
_COUNT = 64


class Capability(IntEnum):
    """Of capabilities(7), those that a program of ours has a use for."""

    DAC_OVERRIDE = 1
    DAC_READ_SEARCH = 2
    SETPCAP = 8
    NET_BIND_SERVICE = 10
    NET_ADMIN = 12
    NET_RAW = 13
    SYS_ADMIN = 21


class PrivilegeError(EcError):
    """A right cannot be given up, or another user not be become."""


def has_capability(capability: Capability) -> bool:
    """Whether the thread may use it, in force or not."""
    return bool(_read().permitted & 1 << capability)


def set_capabilities(*, effective: Collection[Capability], permitted: Collection[Capability]) -> None:
    """Reduce the thread's permitted set to ``permitted``, ``effective`` of it in force; none is gained.

    Raises PrivilegeError.
    """
    left = _read().permitted & _mask(permitted)
    _write(_Sets(effective=left & _mask(effective), permitted=left))


def limit_capabilities(*keep: Capability) -> None:
    """Reduce the thread's permitted set to ``keep``, with none in force but by ``raised``."""
    set_capabilities(effective=(), permitted=keep)


def forget_capability(capability: Capability) -> None:
    """Take one out of the thread's permitted set, for good."""
    before = _read()
    _write(
        _Sets(
            effective=before.effective & ~(1 << capability), permitted=before.permitted & ~(1 << capability)
        )
    )


@contextlib.contextmanager
def raised(*capabilities: Capability) -> Iterator[None]:
    """These in force for the length of the block, beside what is; one that the thread lacks is left out."""
    before = _read()
    wanted = before.effective | (before.permitted & _mask(capabilities))
    _write(_Sets(effective=wanted, permitted=before.permitted))
    try:
        yield
    finally:
        permitted = _read().permitted
        _write(_Sets(effective=before.effective & permitted, permitted=permitted))


@contextlib.contextmanager
def lowered(capability: Capability) -> Iterator[None]:
    """Out of force for the length of the block."""
    before = _read()
    _write(_Sets(effective=before.effective & ~(1 << capability), permitted=before.permitted))
    try:
        yield
    finally:
        _write(before)


def keep_capabilities_over_setuid() -> None:
    """Have the permitted set stay when root becomes another user (PR_SET_KEEPCAPS of prctl(2))."""
    _prctl(_PR_SET_KEEPCAPS, 1)


@contextlib.contextmanager
def parent_death_signal_kept() -> Iterator[None]:
    """The signal that the process gets when its parent ends outlasts a change of user in the block.

    The kernel forgets it then (PR_SET_PDEATHSIG, prctl(2)). A parent that ended meanwhile is made up for.
    """
    parent, number = os.getppid(), ctypes.c_int()
    _call_prctl(_PR_GET_PDEATHSIG, ctypes.addressof(number))
    yield
    if number.value:
        _prctl(_PR_SET_PDEATHSIG, number.value)
        if os.getppid() != parent:
            os.kill(os.getpid(), number.value)


def drop_for_children(*, keep: Collection[Capability] = ()) -> None:
    """Keep capabilities from every program that this process starts from now on; the process keeps its own.

    To root, execve(2) would give everything back: so the bounding set goes as well, all but ``keep``, which
    ``build_grant`` can still hand to a child. Raises PrivilegeError.
    """
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    if _read().effective & 1 << Capability.SETPCAP:
        for capability in range(_COUNT):
            # EINVAL: past the kernel's last one, there is nothing to drop.
            if not _mask(keep) & 1 << capability and _call_prctl(_PR_CAPBSET_DROP, capability) != 0:
                break


def build_grant(*capabilities: Capability) -> Callable[[], None]:
    """The call that a child makes before it becomes its program, to have these of its parent's capabilities.

    It runs between fork and exec, so all it needs is looked up here. What fails there shows as what the
    program then cannot do.
    """
    granted = _read().permitted & _mask(capabilities)
    libc, header, sets = ctypes.CDLL(None), _header(), _pack(_Sets(granted, granted), inheritable=granted)
    prctl, capset = libc.prctl, libc.capset
    raises = [
        (_PR_CAP_AMBIENT, *(ctypes.c_ulong(value) for value in (_PR_CAP_AMBIENT_RAISE, capability, 0, 0)))
        for capability in capabilities
    ]

    def grant() -> None:
        capset(header, sets)
        for arguments in raises:
            prctl(*arguments)

    return grant


@contextlib.contextmanager
def handed_on(*capabilities: Capability) -> Iterator[None]:
    """The programs that this thread starts in the block get these of its capabilities, as far as it has them.

    Root's programs have them anyway. ``build_grant`` is for one child, started on an event loop.
    """
    before = _read()
    missing = [
        capability
        for capability in capabilities
        if os.geteuid() != 0 and before.permitted & 1 << capability and not _is_ambient(capability)
    ]
    if not missing:
        yield
        return
    inherited = _read_inheritable()
    _call("capset", _pack(before, inheritable=inherited | _mask(missing)))
    try:
        for capability in missing:
            _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability)
        yield
    finally:
        # What is not inheritable does not stay ambient (capabilities(7)).
        _call("capset", _pack(_read(), inheritable=inherited))


@dataclass(frozen=True)
class _Sets:
    """Bit N is capability N."""

    effective: int
    permitted: int


def _mask(capabilities: Collection[Capability]) -> int:
    return sum(1 << capability for capability in set(capabilities))


def _header() -> ctypes.Array[ctypes.c_uint32]:
    return (ctypes.c_uint32 * 2)(_VERSION, 0)


def _pack(sets: _Sets, *, inheritable: int = 0) -> ctypes.Array[ctypes.c_uint32]:
    """Effective, permitted and inheritable: of the lower 32 capabilities, and of the others."""
    words = (sets.effective, sets.permitted, inheritable)
    low_high = (*(word & 0xFFFFFFFF for word in words), *(word >> 32 for word in words))
    return (ctypes.c_uint32 * 6)(*low_high)


def _read() -> _Sets:
    """The calling thread's."""
    words = _get()
    return _Sets(effective=words[0] | words[3] << 32, permitted=words[1] | words[4] << 32)


def _read_inheritable() -> int:
    words = _get()
    return int(words[2] | words[5] << 32)


def _get() -> ctypes.Array[ctypes.c_uint32]:
    words = (ctypes.c_uint32 * 6)()
    _call("capget", words)
    return words


def _is_ambient(capability: Capability) -> bool:
    return _call_prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_IS_SET, capability) == 1


def _write(sets: _Sets) -> None:
    """The calling thread's; nothing is inherited. Asks only for a change: a filter may deny the call."""
    if _read() != sets:
        _call("capset", _pack(sets))


def _call(name: str, words: ctypes.Array[ctypes.c_uint32]) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(_header(), words) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise PrivilegeError(
            f"capabilities cannot be changed: {name}(2): {reason}",
            hint="a unit's SystemCallFilter must let capset(2) pass",
        )


def _prctl(option: int, *arguments: int) -> None:
    if _call_prctl(option, *arguments) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise PrivilegeError(f"privileges cannot be changed: prctl({option}): {reason}")


def _call_prctl(option: int, *arguments: int) -> int:
    """What prctl(2) returns: -1 for an error."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    filled = (*arguments, 0, 0, 0, 0)[:4]
    return int(prctl(option, *(ctypes.c_ulong(value) for value in filled)))
