"""Whose a directory is, and how root becomes that user: owners and calls of the test's, so it takes no root.

``test_privileges.py`` does the same with real users, as root.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import importlib
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ectools import privileges
from ectools.capabilities import Capability, PrivilegeError
from ectools.privileges import (
    NOBODY,
    ROOT,
    Identity,
    UnsafeDirectoryError,
    describe_user,
    drop_privileges,
    find_directory_user,
    find_identity,
    limit_to_user,
    root_reads,
    work_as_directory_user,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ALICE, BOB = 64001, 64002
GROUP = 64009
READ, NET = Capability.DAC_READ_SEARCH, Capability.NET_ADMIN


class Tree:
    """Directories with owners and modes of the test's; all others are root's, who alone may write them."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self._given: dict[int, tuple[int, int]] = {}
        fstat = os.fstat

        def look(descriptor: int) -> os.stat_result:
            found = fstat(descriptor)
            uid, mode = self._given.get(found.st_ino, (0, 0o755))
            return os.stat_result(
                (stat.S_IFMT(found.st_mode) | mode, found.st_ino, found.st_dev, 1, uid, GROUP, 0, 0, 0, 0)
            )

        monkeypatch.setattr(os, "fstat", look)

    def make(self, name: str, uid: int = 0, mode: int = 0o755) -> Path:
        path = self.root / name
        path.mkdir()
        return self.give(path, uid, mode)

    def give(self, path: Path, uid: int, mode: int = 0o755) -> Path:
        self._given[path.lstat().st_ino] = (uid, mode)
        return path


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    return Tree(tmp_path, monkeypatch)


def test_the_owner_of_a_directory_on_roots_way(tree: Tree) -> None:
    assert find_directory_user(tree.root) == ROOT
    home = tree.make("home", ALICE)
    assert find_directory_user(home) == Identity(uid=ALICE, gid=NOBODY)
    assert find_directory_user(home / "missing/below").uid == ALICE
    assert find_directory_user(tree.make("home/state", ALICE)).uid == ALICE
    assert find_directory_user(home, home / "state").uid == ALICE
    assert find_directory_user(tree.root / "missing") == ROOT


def test_a_link_leads_on_and_is_its_owners(tree: Tree) -> None:
    home = tree.make("home", ALICE)
    for name, target in (("absolute", str(home)), ("relative", "home/../home")):
        link = tree.root / name
        link.symlink_to(target)
        # The mode of a link is always 0777, and says nothing.
        tree.give(link, 0, 0o777)
        assert find_directory_user(link).uid == ALICE
        tree.give(link, BOB, 0o777)
        with pytest.raises(UnsafeDirectoryError, match=f"{ALICE} .* and {BOB} "):
            find_directory_user(link / "state")


@pytest.mark.parametrize(("links", "works"), [(40, True), (41, False)])
def test_so_many_links_as_the_kernel_follows(links: int, works: bool, tree: Tree) -> None:
    tree.make("0")
    for number in range(1, links + 1):
        (tree.root / str(number)).symlink_to(str(number - 1))
    if works:
        assert find_directory_user(tree.root / str(links)) == ROOT
    else:
        with pytest.raises(UnsafeDirectoryError, match="too many links on the way to it"):
            find_directory_user(tree.root / str(links))


def test_a_directory_that_others_may_write_is_named_with_its_remedy(tree: Tree) -> None:
    shared = tree.make("shared", ALICE, 0o775)
    with pytest.raises(UnsafeDirectoryError) as caught:
        find_directory_user(shared)
    assert caught.value.message == (
        f"{shared}: may be written by the group {GROUP}; root does not work where others choose its files"
    )
    assert caught.value.hint == f"chmod g-w {shared}, or choose another directory"
    below = tree.make("shared/state", ALICE)
    with pytest.raises(UnsafeDirectoryError, match=f"shared: on the way to {below} may be written by the"):
        find_directory_user(below)
    everybodys = tree.make("everybodys", 0, 0o757)
    with pytest.raises(UnsafeDirectoryError, match="may be written by everybody") as caught:
        find_directory_user(everybodys)
    assert caught.value.hint == f"chmod go-w {everybodys}, or choose another directory"


def test_a_sticky_directory_is_a_way_and_no_place(tree: Tree) -> None:
    sticky = tree.make("tmp", 0, 0o1777)
    with pytest.raises(UnsafeDirectoryError, match="may be written by everybody") as caught:
        find_directory_user(sticky)
    assert caught.value.hint == f"make a directory of its own there first: {sticky / 'NAME'}"
    with pytest.raises(UnsafeDirectoryError) as caught:
        find_directory_user(sticky / "missing")
    assert caught.value.hint == f"make a directory of its own there first: {sticky / 'missing'}"
    assert find_directory_user(tree.make("tmp/alices", ALICE)).uid == ALICE
    assert find_directory_user(tree.make("tmp/roots")) == ROOT


def test_several_users_and_roots_in_anothers_are_rejected(tree: Tree) -> None:
    tree.make("alice", ALICE)
    bobs = tree.make("alice/bobs", BOB)
    with pytest.raises(UnsafeDirectoryError) as caught:
        find_directory_user(bobs)
    assert caught.value.message == (
        f"{bobs}: several users may write or replace it: {ALICE} (by {tree.root}/alice)"
        f" and {BOB} (by {bobs}); root does not work there"
    )
    roots = tree.make("alice/roots")
    with pytest.raises(UnsafeDirectoryError) as caught:
        find_directory_user(roots)
    assert caught.value.message == (
        f"{roots}: is root's, and {ALICE} may replace it (by {tree.root}/alice): root does not work so"
    )
    assert str(caught.value.hint).startswith(f"chown -R {ALICE} {roots}, ")


def test_directories_of_two_users_are_not_one_users(tree: Tree) -> None:
    alices, bobs = tree.make("alice", ALICE), tree.make("bob", BOB)
    with pytest.raises(UnsafeDirectoryError) as caught:
        find_directory_user(alices, tree.make("alice/a", ALICE), bobs)
    assert caught.value.message == f"{bobs}: is {BOB}'s to write, and {alices} is {ALICE}'s"


def test_a_directory_that_cannot_be_looked_at(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree.root / "file").touch()
    assert find_directory_user(tree.root / "file/below") == ROOT  # whoever uses it says so

    def deny(*_: object, **__: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", deny)
    with pytest.raises(PrivilegeError, match="cannot be looked at: Permission denied"):
        find_directory_user(tree.root)


def test_no_descriptor_is_left_open(tree: Tree) -> None:
    deep = tree.root / "a/b/c"
    deep.mkdir(parents=True)
    (tree.root / "link").symlink_to(tree.root)
    before = len(os.listdir("/proc/self/fd"))
    find_directory_user(tree.root / "link/a/b/c")
    assert len(os.listdir("/proc/self/fd")) == before


def test_users_and_their_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (describe_user(0), describe_user(ALICE)) == ("root", str(ALICE))
    assert ROOT.name == "root"
    monkeypatch.setattr(os, "getgrouplist", lambda name, gid: [gid, 7, 5, 7])
    assert find_identity(0) == Identity(uid=0, gid=0, groups=(5, 7))


# --- becoming that user ---------------------------------------------------------------------------------


@pytest.fixture
def did(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the process was asked to do, in its order."""
    calls: list[tuple[Any, ...]] = []

    def note(name: str) -> Callable[..., None]:
        return lambda *arguments, **more: calls.append((name, *arguments, *([more] if more else [])))

    for name in ("setgroups", "setresgid", "setresuid"):
        monkeypatch.setattr(os, name, note(name))
    for name in (
        "drop_for_children",
        "keep_capabilities_over_setuid",
        "set_capabilities",
        "limit_capabilities",
    ):
        monkeypatch.setattr(privileges, name, note(name))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return calls


USER = Identity(uid=ALICE, gid=7, groups=(8, 9))


def test_root_gives_all_up_in_the_order_that_the_kernel_needs(did: list[tuple[Any, ...]]) -> None:
    drop_privileges(USER)
    become = [("setgroups", (8, 9)), ("setresgid", 7, 7, 7), ("setresuid", ALICE, ALICE, ALICE)]
    assert did == [
        ("drop_for_children", {"keep": ()}),
        *become,
        ("set_capabilities", {"effective": (), "permitted": ()}),
    ]
    did.clear()
    drop_privileges(USER, keep=(NET,))
    assert did == [
        ("drop_for_children", {"keep": (NET,)}),
        ("keep_capabilities_over_setuid",),
        *become,
        ("set_capabilities", {"effective": (NET,), "permitted": (NET,)}),
    ]


def test_a_user_that_cannot_be_become_is_named(
    did: list[tuple[Any, ...]], tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "setgroups", deny)
    with pytest.raises(PrivilegeError, match=f"the user {ALICE} cannot be become: Operation not permitted"):
        drop_privileges(USER)
    home = tree.make("home", ALICE)
    with pytest.raises(PrivilegeError) as caught:
        work_as_directory_user(home)
    assert caught.value.message.startswith(
        f"{home}: is the user {ALICE}'s, as whom root cannot act here: the"
    )
    assert did[-1][0] != "set_capabilities"


def test_only_root_becomes_another_and_only_in_anothers_directory(
    did: list[tuple[Any, ...]], tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tree.make("home", ALICE)
    assert work_as_directory_user(tree.root) is None
    monkeypatch.setattr(os, "geteuid", lambda: BOB)
    assert work_as_directory_user(home) is None
    assert did == []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert work_as_directory_user(home, keep=(NET,)) == Identity(uid=ALICE, gid=NOBODY)
    assert did[0] == ("drop_for_children", {"keep": (NET,)})


@pytest.fixture
def in_force(monkeypatch: pytest.MonkeyPatch) -> list[Capability]:
    """The rights that are in force."""
    now: list[Capability] = []

    @contextlib.contextmanager
    def fake_raised(capability: Capability) -> Iterator[None]:
        now.append(capability)
        yield
        now.remove(capability)

    @contextlib.contextmanager
    def fake_lowered(capability: Capability) -> Iterator[None]:
        before = now[:]
        now[:] = [one for one in now if one is not capability]
        yield
        now[:] = before

    monkeypatch.setattr(privileges, "raised", fake_raised)
    monkeypatch.setattr(privileges, "lowered", fake_lowered)
    return now


@pytest.mark.parametrize(
    ("readable", "permitted", "stays"), [(True, True, False), (False, True, True), (False, False, False)]
)
def test_the_right_to_read_stays_only_for_imports_of_what_the_user_cannot_read(
    readable: bool,
    permitted: bool,
    stays: bool,
    did: list[tuple[Any, ...]],
    in_force: list[Capability],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[list[Capability]] = []
    before = builtins.__import__

    def note(*_: object, **__: object) -> str:
        seen.append(list(in_force))
        return "a module"

    monkeypatch.setattr(sys, "path", ["/readable", "/private", ""])
    monkeypatch.setattr(os.path, "exists", bool)
    monkeypatch.setattr(os, "access", lambda path, mode: readable or path != "/private")
    monkeypatch.setattr(privileges, "has_capability", lambda one: permitted and one is READ)
    monkeypatch.setattr(importlib, "import_module", note)
    monkeypatch.setattr(builtins, "__import__", before)
    limit_to_user(NET)
    wrapped = builtins.__import__ is not before
    result = importlib.import_module("any")
    monkeypatch.undo()
    assert did == [("limit_capabilities", NET, READ), *([] if stays else [("limit_capabilities", NET)])]
    assert wrapped is stays
    assert result == "a module"
    assert seen == [[READ] if stays else []]


def test_a_secret_is_read_with_roots_right_where_root_alone_chose_it(
    tree: Tree, in_force: list[Capability], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: ALICE)
    roots, alices = tree.root / "secret", tree.make("home", ALICE) / "secret"
    shared = tree.make("shared", 0, 0o777) / "secret"
    for file, expected in ((roots, [READ]), (alices, []), (shared, [])):
        file.touch()
        with root_reads(file):
            assert in_force == expected
        assert in_force == []
    in_force.append(READ)
    with root_reads(alices):
        assert in_force == []
    assert in_force == [READ]
    with root_reads(None):
        assert in_force == [READ]
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with root_reads(roots):
        assert in_force == [READ]
