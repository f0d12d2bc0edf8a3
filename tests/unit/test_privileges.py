"""Who root becomes in a directory, and that it does not come back; real users, so most of it takes root."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.guests import open_way
from support.needs import give_up

from ectools.privileges import (
    NOBODY,
    ROOT,
    Identity,
    UnsafeDirectoryError,
    find_directory_user,
    find_identity,
    find_user,
)

if TYPE_CHECKING:
    from collections.abc import Callable

ALICE, BOB = 64001, 64002
"""Users without an entry anywhere."""

needs_root = pytest.mark.usefixtures("root")


def make(path: Path, *, owner: int = 0, mode: int = 0o755) -> Path:
    path.mkdir()
    os.chown(path, owner, owner)
    path.chmod(mode)
    return path


@needs_root
def test_whoever_may_write_a_directory_or_the_way_to_it_is_who_root_becomes(tmp_path: Path) -> None:
    assert find_directory_user(tmp_path) == ROOT
    assert find_directory_user(tmp_path / "missing/below") == ROOT
    home = make(tmp_path / "alice", owner=ALICE)
    # Not the directory's group: set-group-ID directories hand theirs on to whoever makes one there.
    assert find_directory_user(home) == Identity(uid=ALICE, gid=NOBODY)
    assert find_directory_user(home / "missing/below") == find_identity(ALICE)
    make(home / "state", owner=ALICE)
    make(home / "state/tftp", owner=ALICE)
    assert find_directory_user(home / "state", home / "state/tftp") == find_identity(ALICE)
    shared = make(tmp_path / "shared", mode=0o1777)
    assert find_directory_user(make(shared / "alices", owner=ALICE)) == find_identity(ALICE)
    assert find_directory_user(make(shared / "roots")) == ROOT
    (tmp_path / "link").symlink_to(home)
    assert find_directory_user(tmp_path / "link/state") == find_identity(ALICE)


def refuse_group(directory: Path) -> Path:
    return make(directory / "state", owner=ALICE, mode=0o775)


def refuse_everybody(directory: Path) -> Path:
    return make(directory / "state", mode=0o777)


def refuse_sticky(directory: Path) -> Path:
    return make(directory / "state", mode=0o1777)


def refuse_missing_in_sticky(directory: Path) -> Path:
    return make(directory / "tmp", mode=0o1777) / "missing"


def refuse_parent_of_group(directory: Path) -> Path:
    return make(make(directory / "way", mode=0o775) / "state", owner=ALICE)


def refuse_two_users(directory: Path) -> Path:
    return make(make(directory / "alice", owner=ALICE) / "bobs", owner=BOB)


def refuse_roots_below_another(directory: Path) -> Path:
    return make(make(directory / "alice", owner=ALICE) / "roots")


def refuse_link_of_another(directory: Path) -> Path:
    shared = make(directory / "tmp", mode=0o1777)
    (shared / "link").symlink_to(make(directory / "roots"))
    os.chown(shared / "link", BOB, BOB, follow_symlinks=False)
    return shared / "link"


def refuse_link_to_shared(directory: Path) -> Path:
    (directory / "link").symlink_to("way/../way/state")
    make(make(directory / "way", mode=0o777) / "state")
    return directory / "link"


def refuse_loop(directory: Path) -> Path:
    (directory / "one").symlink_to("two")
    (directory / "two").symlink_to("one")
    return directory / "one"


@needs_root
@pytest.mark.parametrize(
    ("build", "words"),
    [
        (refuse_group, f"state: may be written by the group {ALICE}"),
        (refuse_everybody, "state: may be written by everybody"),
        (refuse_sticky, "state: may be written by everybody"),
        (refuse_missing_in_sticky, "may be written by everybody"),
        (refuse_parent_of_group, "may be written by the group root"),
        (refuse_two_users, f"several users may write or replace it: {ALICE} "),
        (refuse_roots_below_another, f"is root's, and {ALICE} may replace it"),
        (refuse_link_of_another, f"is root's, and {BOB} may replace it"),
        (refuse_link_to_shared, "may be written by everybody"),
        (refuse_loop, "too many links"),
    ],
)
def test_root_refuses_what_is_not_one_users_alone(
    build: Callable[[Path], Path], words: str, tmp_path: Path
) -> None:
    with pytest.raises(UnsafeDirectoryError) as caught:
        find_directory_user(build(tmp_path))
    assert words in caught.value.message
    assert str(tmp_path) in caught.value.message


@needs_root
def test_an_access_control_list_counts_as_the_group_does(tmp_path: Path) -> None:
    directory = make(tmp_path / "state", owner=ALICE)
    # <linux/posix_acl_xattr.h>, version 2: user::rwx, user:BOB:rwx, group::r-x, mask::rwx, other::r-x.
    entries = [(1, 7, -1), (2, 7, BOB), (4, 5, -1), (16, 7, -1), (32, 5, -1)]
    packed = b"".join(
        tag.to_bytes(2, "little") + right.to_bytes(2, "little") + (uid & 0xFFFFFFFF).to_bytes(4, "little")
        for tag, right, uid in entries
    )
    try:
        os.setxattr(directory, "system.posix_acl_access", (2).to_bytes(4, "little") + packed)
    except OSError as error:
        give_up(f"no ACLs on {tmp_path}: {error.strerror}")
    with pytest.raises(UnsafeDirectoryError, match="may be written by the group"):
        find_directory_user(directory)


@needs_root
def test_directories_of_different_users_are_refused(tmp_path: Path) -> None:
    one, two = make(tmp_path / "one", owner=ALICE), make(tmp_path / "two", owner=BOB)
    with pytest.raises(UnsafeDirectoryError, match=f"two: is {BOB}'s to write, and .*one is {ALICE}'s"):
        find_directory_user(one, two)
    with pytest.raises(UnsafeDirectoryError, match="is root's to write"):
        find_directory_user(one, tmp_path / "missing")


def test_users_by_name() -> None:
    assert find_user("no-such-user-here") is None
    assert find_user("root") == find_identity(0)


DROP = """
import json, os, subprocess, sys
from pathlib import Path
from ectools.capabilities import Capability, forget_capability, has_capability, limit_capabilities, raised
from ectools.privileges import drop_privileges, find_identity, work_as_directory_user
def show():
    lines = Path("/proc/self/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return {name: fields[name].split() for name in ("Uid", "Gid", "CapEff", "CapPrm", "NoNewPrivs")}
child = [sys.executable, "-c", "print(open('/proc/self/status').read())"]
"""


def drop(source: str, *arguments: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", DROP + source, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@needs_root
def test_root_that_has_become_another_does_not_come_back() -> None:
    shown = drop(f"""
drop_privileges(find_identity({ALICE}), keep=[Capability.NET_ADMIN, Capability.DAC_READ_SEARCH])
all_ids, groups = show(), os.getgroups()
limit_capabilities(Capability.NET_ADMIN)
limited = show()
with raised(Capability.NET_ADMIN, Capability.DAC_READ_SEARCH):
    in_force = show()
forget_capability(Capability.NET_ADMIN)
none = show()
back = []
for call in (os.setuid, os.seteuid, os.setgid):
    try:
        call(0)
        back.append(call.__name__)
    except PermissionError:
        pass
print(json.dumps([all_ids, groups, limited, in_force, none, back]))
""")
    dropped, groups, limited, in_force, none, back = shown
    assert dropped["Uid"] == [str(ALICE)] * 4
    assert dropped["Gid"] == [str(NOBODY)] * 4
    assert groups == []
    assert dropped["NoNewPrivs"] == ["1"]
    net_admin, read = 1 << 12, 1 << 2
    held = [int(each["CapEff"][0], 16) for each in (dropped, limited, in_force, none)]
    assert held == [net_admin | read, 0, net_admin, 0]
    assert int(limited["CapPrm"][0], 16) == net_admin
    assert int(none["CapPrm"][0], 16) == 0
    assert back == []


@needs_root
def test_a_child_gets_the_capability_that_it_is_given_and_no_other() -> None:
    shown = drop(f"""
from ectools.capabilities import build_grant
kept = [Capability.DAC_READ_SEARCH, Capability.NET_ADMIN]
drop_privileges(find_identity({ALICE}), keep=kept)
found = []
for granted in ([], [Capability.DAC_READ_SEARCH]):
    text = subprocess.run(["/bin/cat", "/proc/self/status"], preexec_fn=build_grant(*granted),
                          capture_output=True, text=True).stdout
    found.append([int(line.split()[1], 16) for line in text.splitlines() if line.startswith("CapEff")][0])
print(json.dumps(found))
""")
    assert shown == [0, 1 << 2]


@needs_root
def test_only_root_becomes_the_directories_user(tmp_path: Path) -> None:
    directory = make(tmp_path / "state", owner=ALICE)
    source = """
became = work_as_directory_user(Path(sys.argv[1]))
print(json.dumps([None if became is None else became.uid, list(os.getresuid())]))
"""
    assert drop(source, str(directory)) == [ALICE, [ALICE] * 3]
    assert drop(source, str(tmp_path)) == [None, [0] * 3]


@needs_root
def test_programs_that_a_block_starts_get_what_is_handed_on_and_others_nothing() -> None:
    shown = drop(f"""
from ectools.capabilities import handed_on, set_capabilities
kept = [Capability.DAC_READ_SEARCH, Capability.NET_ADMIN]
drop_privileges(find_identity({ALICE}), keep=kept)
limit_capabilities(*kept)
def held():
    text = subprocess.run(["/bin/cat", "/proc/self/status"], capture_output=True, text=True).stdout
    return [int(line.split()[1], 16) for line in text.splitlines() if line.startswith("CapPrm")][0]
found = [held()]
with handed_on(Capability.NET_ADMIN, Capability.SETPCAP):
    found.append(held())
    with handed_on(Capability.NET_ADMIN):
        pass
    found.append(held())
print(json.dumps([*found, held(), int(show()["CapEff"][0], 16)]))
""")
    assert shown == [0, 1 << 12, 1 << 12, 0, 0]


@needs_root
@pytest.mark.parametrize("in_force", [True, False])
def test_a_file_is_read_with_roots_right_where_it_is_roots_alone(tmp_path: Path, in_force: bool) -> None:
    private = make(tmp_path / "private", mode=0o700)
    (private / "secret").write_text("root's")
    home = make(tmp_path / "home", owner=ALICE)
    (home / "link").symlink_to(private / "secret")
    os.link(private / "secret", home / "hard")
    (private / "secret").chmod(0o600)
    (home / "own").write_text("her own")
    open_way(tmp_path)
    source = f"""
from ectools.privileges import root_reads
drop_privileges(find_identity({ALICE}), keep=[Capability.DAC_READ_SEARCH])
if not {in_force}:
    limit_capabilities(Capability.DAC_READ_SEARCH)
found = []
for file in map(Path, sys.argv[1:]):
    try:
        with root_reads(file):
            found.append(file.read_text())
    except PermissionError:
        found.append(None)
print(json.dumps([found, int(show()["CapEff"][0], 16)]))
"""
    files = [str(path) for path in (private / "secret", home / "link", home / "hard", home / "own")]
    assert drop(source, *files) == [["root's", None, None, "her own"], in_force << 2]


@needs_root
def test_who_dies_with_its_parent_does_so_as_another_user_too() -> None:
    source = (
        "import ctypes, signal\n"
        "from ectools.privileges import Identity, drop_privileges\n"
        "libc, number = ctypes.CDLL(None), ctypes.c_int()\n"
        "libc.prctl(1, signal.SIGUSR1)\n"
        f"drop_privileges(Identity(uid={ALICE}, gid={ALICE}))\n"
        "libc.prctl(2, ctypes.byref(number))\n"
        "print(signal.Signals(number.value).name)\n"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)
    assert done.stdout == "SIGUSR1\n", done.stderr
