"""What the kernel is asked for before a network of one's own is set up; on a kernel of the test's.

``tests/e2e/test_demo_netboot.py`` does the same on the real one.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ectools.capabilities import Capability
from ectools.demo.netboot import namespaces
from ectools.demo.netboot.namespaces import NamespaceError, own_namespaces

if TYPE_CHECKING:
    from collections.abc import Iterator

NEWNS, NEWUSER, NEWNET = 0x20000, 0x10000000, 0x40000000


class Kernel:
    """unshare(2) and mount(2); ``errors`` has the error number of a call by its name."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.errors: dict[str, int] = {}

    def unshare(self, flags: int) -> int:
        return self._call("unshare", flags)

    def mount(self, source: Any, target: bytes, kind: Any, flags: Any, _data: None) -> int:
        return self._call("mount", source, target, kind, flags.value)

    def _call(self, name: str, *arguments: Any) -> int:
        self.calls.append((name, *arguments))
        ctypes.set_errno(self.errors.get(name, 0))
        return -1 if name in self.errors else 0


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    fake = Kernel()

    @contextlib.contextmanager
    def handed_on(*rights: Capability) -> Iterator[None]:
        fake.calls.append(("handed on", *rights))
        yield
        fake.calls.append(("taken back",))

    monkeypatch.setattr(ctypes, "CDLL", lambda _name, *, use_errno: fake)
    monkeypatch.setattr(namespaces, "handed_on", handed_on)
    monkeypatch.setattr(Path, "write_text", lambda path, text: fake.calls.append((str(path), text)))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return fake


MOUNTS = [("mount", None, b"/", None, 0x44000), ("mount", b"tmpfs", b"/run", b"tmpfs", 0)]
RIGHTS = ("handed on", Capability.NET_ADMIN, Capability.NET_RAW, Capability.NET_BIND_SERVICE, 21)


def test_root_needs_no_user_namespace(kernel: Kernel) -> None:
    with own_namespaces():
        assert kernel.calls == [("unshare", NEWNS | NEWNET), *MOUNTS, RIGHTS]
    assert kernel.calls[-1] == ("taken back",)


def test_a_user_stays_who_they_are(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getegid", lambda: 100)
    with own_namespaces():
        assert kernel.calls == [
            ("unshare", NEWNS | NEWNET | NEWUSER),
            ("/proc/self/setgroups", "deny"),
            ("/proc/self/uid_map", "1000 1000 1"),
            ("/proc/self/gid_map", "100 100 1"),
            *MOUNTS,
            RIGHTS,
        ]


@pytest.mark.parametrize(
    ("uid", "call", "number", "hint"),
    [
        (1000, "unshare", errno.EPERM, "run it as root"),
        (1000, "unshare", errno.ENOSPC, "user.max_user_namespaces"),
        (1000, "mount", errno.EACCES, "apparmor_restrict_unprivileged_userns"),
        (0, "unshare", errno.EPERM, "CAP_SYS_ADMIN"),
        (0, "unshare", errno.EINVAL, "CONFIG_NET_NS"),
    ],
)
def test_what_is_not_allowed_is_told(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, uid: int, call: str, number: int, hint: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    kernel.errors[call] = number
    with (
        pytest.raises(NamespaceError, match=f"no namespaces can be made here: {call}") as caught,
        own_namespaces(),
    ):
        pytest.fail("it was entered")
    assert caught.value.hint is not None
    assert hint in caught.value.hint
    assert os.strerror(number) in caught.value.message
