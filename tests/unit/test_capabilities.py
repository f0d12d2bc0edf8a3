"""What a program that gives rights up asks the kernel for, and in which order; on a kernel of the test's.

``test_privileges.py`` does the same on the real one, as root.
"""

from __future__ import annotations

import ctypes
import errno
import os
from typing import Any

import pytest

from ectools import capabilities
from ectools.capabilities import (
    Capability,
    PrivilegeError,
    build_grant,
    drop_for_children,
    forget_capability,
    handed_on,
    has_capability,
    keep_capabilities_over_setuid,
    limit_capabilities,
    lowered,
    raised,
    set_capabilities,
)

READ, NET, SETPCAP, BIND = (
    Capability.DAC_READ_SEARCH,
    Capability.NET_ADMIN,
    Capability.SETPCAP,
    Capability.NET_BIND_SERVICE,
)
HIGH = 40
"""CAP_CHECKPOINT_RESTORE: in the second words of capget(2)."""
LAST = 41


def mask(*numbers: int) -> int:
    return sum(1 << number for number in numbers)


class Kernel:
    """The sets of one thread; capget(2), capset(2) and prctl(2) as far as they are used.

    ``calls`` are those that change something. ``errors`` has the error number of a call by its name.
    """

    def __init__(self) -> None:
        self.effective = self.permitted = mask(READ, NET, SETPCAP, HIGH)
        self.inheritable = 0
        self.ambient: set[int] = set()
        self.bounding = set(range(LAST))
        self.calls: list[tuple[Any, ...]] = []
        self.errors: dict[str, int] = {}

    def _fail(self, name: str) -> bool:
        ctypes.set_errno(self.errors.get(name, 0))
        return name in self.errors

    def capget(self, header: Any, words: Any) -> int:
        assert list(header) == [0x20080522, 0]
        if self._fail("capget"):
            return -1
        for index, value in enumerate((self.effective, self.permitted, self.inheritable)):
            words[index], words[index + 3] = value & 0xFFFFFFFF, value >> 32
        return 0

    def capset(self, header: Any, words: Any) -> int:
        assert list(header) == [0x20080522, 0]
        if self._fail("capset"):
            return -1
        values = [words[index] | words[index + 3] << 32 for index in range(3)]
        assert values[1] & ~self.permitted == 0, "a right that it does not have"
        assert values[0] & ~values[1] == 0, "in force and not permitted"
        self.effective, self.permitted, self.inheritable = values
        self.ambient = {one for one in self.ambient if 1 << one & self.inheritable & self.permitted}
        self.calls.append(("capset", *values))
        return 0

    def prctl(self, option: int, *arguments: ctypes.c_ulong) -> int:
        values = [argument.value for argument in arguments]
        assert len(values) == 4
        if self._fail(f"prctl {option}"):
            return -1
        match option, *values:
            case 47, 1, one, 0, 0:
                return int(one in self.ambient)
            case 47, 2, one, 0, 0:
                assert 1 << one & self.inheritable & self.permitted
                self.ambient.add(one)
            case 47, 4, 0, 0, 0:
                self.ambient.clear()
            case 24, one, 0, 0, 0:
                if one >= LAST:
                    return -1
                self.bounding.discard(one)
            case _:
                assert option in {8, 38}
                assert values == [1, 0, 0, 0]
        self.calls.append(("prctl", option, *values))
        return 0


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel()
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: kernel)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return kernel


def test_a_right_is_had_in_force_or_not(kernel: Kernel) -> None:
    kernel.effective = 0
    assert has_capability(NET)
    assert not has_capability(BIND)


def test_rights_are_set_and_none_is_gained(kernel: Kernel) -> None:
    set_capabilities(effective=[NET, BIND], permitted=[NET, READ, BIND])
    assert (kernel.effective, kernel.permitted, kernel.inheritable) == (mask(NET), mask(NET, READ), 0)
    set_capabilities(effective=[READ], permitted=[NET])
    assert (kernel.effective, kernel.permitted) == (0, mask(NET))
    limit_capabilities()
    assert (kernel.effective, kernel.permitted) == (0, 0)


def test_rights_of_the_second_words_are_kept(kernel: Kernel) -> None:
    forget_capability(NET)
    assert kernel.permitted == kernel.effective == mask(READ, SETPCAP, HIGH)
    kernel.effective = mask(READ)
    forget_capability(READ)
    assert (kernel.effective, kernel.permitted) == (0, mask(SETPCAP, HIGH))


def test_what_changes_nothing_asks_the_kernel_for_nothing(kernel: Kernel) -> None:
    with raised(READ, BIND):
        set_capabilities(effective=[READ, NET, SETPCAP], permitted=[READ, NET, SETPCAP])
    assert len(kernel.calls) == 1  # it lost HIGH
    with raised(READ):
        pass
    assert len(kernel.calls) == 1


def test_a_right_is_raised_for_a_block_and_only_as_far_as_it_is_there(kernel: Kernel) -> None:
    limit_capabilities(NET, READ)
    with raised(NET, BIND):
        assert kernel.effective == mask(NET)
        with raised(READ):
            assert kernel.effective == mask(NET, READ)
        assert kernel.effective == mask(NET)
    assert (kernel.effective, kernel.permitted) == (0, mask(NET, READ))
    with pytest.raises(LookupError), raised(NET):
        raise LookupError
    assert kernel.effective == 0


def test_a_right_that_is_given_up_in_a_block_does_not_come_back(kernel: Kernel) -> None:
    with raised(NET):
        forget_capability(NET)
    assert kernel.effective == kernel.permitted == mask(READ, SETPCAP, HIGH)


def test_a_right_is_lowered_for_a_block(kernel: Kernel) -> None:
    with lowered(READ):
        assert kernel.effective == mask(NET, SETPCAP, HIGH)
        assert kernel.permitted == mask(READ, NET, SETPCAP, HIGH)
    assert kernel.effective == mask(READ, NET, SETPCAP, HIGH)
    with pytest.raises(LookupError), lowered(READ):
        raise LookupError
    assert kernel.effective == mask(READ, NET, SETPCAP, HIGH)


def test_children_are_confined_for_good(kernel: Kernel) -> None:
    kernel.inheritable, kernel.ambient = mask(NET), {NET}
    drop_for_children(keep=[NET, READ])
    assert kernel.calls[:2] == [("prctl", 38, 1, 0, 0, 0), ("prctl", 47, 4, 0, 0, 0)]
    assert kernel.bounding == {NET, READ}
    assert kernel.ambient == set()
    assert kernel.permitted == mask(READ, NET, SETPCAP, HIGH)


def test_without_the_right_to_it_the_bounding_set_stays(kernel: Kernel) -> None:
    kernel.effective = mask(NET)
    drop_for_children()
    assert kernel.bounding == set(range(LAST))
    assert len(kernel.calls) == 2


def test_rights_stay_over_a_change_of_user(kernel: Kernel) -> None:
    keep_capabilities_over_setuid()
    assert kernel.calls == [("prctl", 8, 1, 0, 0, 0)]


def test_a_grant_is_of_what_is_there_and_made_in_the_child(kernel: Kernel) -> None:
    limit_capabilities(NET, READ)
    kernel.calls.clear()
    grant = build_grant(NET)
    assert kernel.calls == []
    grant()
    assert kernel.calls == [("capset", mask(NET), mask(NET), mask(NET)), ("prctl", 47, 2, NET, 0, 0)]
    assert kernel.ambient == {NET}


def test_rights_are_handed_on_for_a_block(kernel: Kernel) -> None:
    limit_capabilities(NET, READ)
    with handed_on(NET, BIND):
        assert kernel.ambient == {NET}
        assert kernel.inheritable == mask(NET)
        with handed_on(NET, READ):
            assert kernel.ambient == {NET, READ}
        assert kernel.ambient == {NET}
    assert (kernel.ambient, kernel.inheritable) == (set(), 0)
    assert (kernel.effective, kernel.permitted) == (0, mask(NET, READ))
    with pytest.raises(LookupError), handed_on(READ):
        raise LookupError
    assert kernel.ambient == set()


def test_what_root_hands_on_needs_nothing(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with handed_on(NET):
        assert kernel.calls == []


@pytest.mark.parametrize(
    ("name", "call", "message"),
    [
        ("capget", lambda: has_capability(NET), r"cannot be changed: capget\(2\): Operation not"),
        ("capset", limit_capabilities, r"cannot be changed: capset\(2\): Operation not permitted"),
        ("prctl 38", drop_for_children, r"cannot be changed: prctl\(38\): Operation not permitted"),
    ],
)
def test_what_the_kernel_denies_is_named(name: str, call: Any, message: str, kernel: Kernel) -> None:
    kernel.errors[name] = errno.EPERM
    with pytest.raises(PrivilegeError, match=message):
        call()


def test_numbers_are_the_kernels() -> None:
    """<linux/capability.h>"""
    assert {one.name: one.value for one in Capability} == {
        "DAC_OVERRIDE": 1,
        "DAC_READ_SEARCH": 2,
        "SETPCAP": 8,
        "NET_BIND_SERVICE": 10,
        "NET_ADMIN": 12,
        "NET_RAW": 13,
        "SYS_ADMIN": 21,
    }
    assert capabilities._COUNT > LAST
