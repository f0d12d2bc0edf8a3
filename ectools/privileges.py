"""The user as whom a program works: its directory's, with no more rights than it needs.

One rule for all programs that root may start: the program becomes the user who may write its directory,
because that one chooses what the files and links there are. Where it is not one user, the directory is
rejected. Who may write a directory is decided as sshd's StrictModes does it (``safe_path`` in OpenSSH's
misc.c): by the directory and by each one on the way to it, since whoever may write one of those can put
another in its place.

What the kernel is asked for is in ``ectools.capabilities``.
"""

from __future__ import annotations

import builtins
import contextlib
import grp
import importlib
import os
import pwd
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from ectools.capabilities import (
    Capability,
    PrivilegeError,
    drop_for_children,
    has_capability,
    keep_capabilities_over_setuid,
    limit_capabilities,
    lowered,
    parent_death_signal_kept,
    raised,
    set_capabilities,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

_P = ParamSpec("_P")
_T = TypeVar("_T")

NOBODY = 65534
"""The user and the group without rights. NFS shares them, and whatever else has no user of its own."""

_MAX_LINKS = 40  # as the kernel counts (path_resolution(7))
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class UnsafeDirectoryError(PrivilegeError):
    """A directory that is not one user's alone, in which root does not work."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A user as the kernel knows it: its group, and the further groups that it is in."""

    uid: int
    gid: int
    groups: tuple[int, ...] = field(default=())

    @property
    def name(self) -> str:
        """The user's name, or its number."""
        return describe_user(self.uid)


ROOT = Identity(uid=0, gid=0)


def describe_user(uid: int) -> str:
    """The user's name, or its number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def find_identity(uid: int) -> Identity:
    """A user with the groups that the system's database gives it; without an entry there, nobody's group.

    Not with the directory's group: below a set-group-ID bit that may be one that the user is not in.
    """
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return Identity(uid=uid, gid=NOBODY)
    groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
    return Identity(uid=uid, gid=entry.pw_gid, groups=tuple(sorted(set(groups) - {entry.pw_gid})))


def find_user(name: str) -> Identity | None:
    """The user of that name; None where there is none."""
    try:
        return find_identity(pwd.getpwnam(name).pw_uid)
    except KeyError:
        return None


# --- Who may write a directory ------------------------------------------------------------------------------


def find_directory_user(*directories: Path) -> Identity:
    """The one user who may write all of these directories beside root; ROOT where nobody else may.

    For one that is missing, the way to where it would be made decides. Raises UnsafeDirectoryError where
    there are several such users, where a group or everybody may write one (the mask of a POSIX ACL stands in
    the bits of the group), where root's directory stands in another user's, and where two are not the same
    user's.
    """
    found = [(directory, _find_one_user(directory)) for directory in directories]
    first, identity = found[0]
    for directory, other in found[1:]:
        if other != identity:
            raise UnsafeDirectoryError(
                f"{directory}: is {other.name}'s to write, and {first} is {identity.name}'s",
                hint="make both directories, and let one user own them",
            )
    return identity


@dataclass(frozen=True, kw_only=True)
class _Entry:
    path: Path
    status: os.stat_result
    last: bool


def _find_one_user(directory: Path) -> Identity:
    entries = _list_entries(directory)
    owners: dict[int, Path] = {}
    for entry in entries:
        owners.setdefault(entry.status.st_uid, entry.path)
        # The bits of a link say nothing. A sticky directory lets nobody replace what is another's
        # (unlink(2)), but everybody make what is missing there.
        mode = entry.status.st_mode
        sticky = mode & stat.S_ISVTX and entry is not entries[-1]
        if stat.S_ISDIR(mode) and mode & _WRITABLE_BY_OTHERS and not sticky:
            raise _shared_directory(entry, directory)
    users = sorted(owners.keys() - {0})
    if not users:
        return ROOT
    if len(users) > 1:
        named = " and ".join(f"{describe_user(uid)} (by {owners[uid]})" for uid in users)
        raise UnsafeDirectoryError(
            f"{directory}: several users may write or replace it: {named}; root does not work there",
            hint="choose a directory on a way that is root's and one user's alone",
        )
    end = entries[-1]
    if end.last and end.status.st_uid == 0:
        user = describe_user(users[0])
        raise UnsafeDirectoryError(
            f"{directory}: is root's, and {user} may replace it (by {owners[users[0]]}):"
            " root does not work so",
            hint=f"chown -R {user} {end.path}, or choose a directory that no other user's directory leads to",
        )
    return find_identity(users[0])


def _shared_directory(entry: _Entry, directory: Path) -> UnsafeDirectoryError:
    everybody = bool(entry.status.st_mode & stat.S_IWOTH)
    who = "everybody" if everybody else f"the group {_describe_group(entry.status.st_gid)}"
    way = "" if entry.last else f" on the way to {directory}"
    if entry.status.st_mode & stat.S_ISVTX:
        hint = (
            f"make a directory of its own there first: {directory if not entry.last else directory / 'NAME'}"
        )
    else:
        hint = f"chmod {'go-w' if everybody else 'g-w'} {entry.path}, or choose another directory"
    return UnsafeDirectoryError(
        f"{entry.path}:{way} may be written by {who}; root does not work where others choose its files",
        hint=hint,
    )


def _describe_group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _list_entries(directory: Path) -> list[_Entry]:
    """All that the kernel goes through on the way to ``directory``, links too, up to what is missing.

    Each is opened in the one before (openat(2)), so that the entries are of one way that was there, whoever
    renames meanwhile. The last one is marked where it is the directory itself.
    """
    flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
    todo = [*reversed(directory.absolute().parts[1:])]
    where, links = Path("/"), 0
    with contextlib.ExitStack() as descriptors:

        def open_entry(name: str, at: int | None) -> int:
            descriptor = os.open(name, flags, dir_fd=at)
            descriptors.callback(os.close, descriptor)
            return descriptor

        try:
            at = open_entry("/", None)
            found = [_Entry(path=where, status=os.fstat(at), last=not todo)]
            while todo:
                name = todo.pop()
                entry = open_entry(name, at)
                status = os.fstat(entry)
                is_link = stat.S_ISLNK(status.st_mode)
                found.append(_Entry(path=where / name, status=status, last=not todo and not is_link))
                if not is_link:
                    at, where = entry, where / name
                    continue
                links += 1
                if links > _MAX_LINKS:
                    raise UnsafeDirectoryError(f"{directory}: there are too many links on the way to it")
                target = PurePath(os.readlink("", dir_fd=entry))
                if target.is_absolute():
                    at, where = open_entry("/", None), Path("/")
                todo += reversed(target.parts[target.is_absolute() :])
        except (FileNotFoundError, NotADirectoryError):
            pass  # an error for whoever uses it, unless they make it
        except OSError as error:
            raise PrivilegeError(f"{directory}: cannot be looked at: {error.strerror}") from error
    return found


# --- Rights, given up ---------------------------------------------------------------------------------------


def work_as_directory_user(*directories: Path, keep: Collection[Capability] = ()) -> Identity | None:
    """Root becomes, for good, the user whose the directories are; returns it, or None where nothing changed.

    Whoever is not root stays as they are: they cannot do more than they could by hand. Raises
    UnsafeDirectoryError, PrivilegeError.
    """
    if os.geteuid() != 0:
        return None
    identity = find_directory_user(*directories)
    if identity.uid == 0:
        return None
    try:
        drop_privileges(identity, keep=keep)
    except PrivilegeError as error:
        raise PrivilegeError(
            f"{directories[0]}: is the user {identity.uid}'s, as whom root cannot act here: {error.message}",
            hint="run the command as that user",
        ) from error
    return identity


def drop_privileges(identity: Identity, *, keep: Collection[Capability] = ()) -> None:
    """Root becomes ``identity`` and does not come back: the real, the effective and the saved ids are its.

    ``keep``: the capabilities that stay, in force; what root itself lacks, as in a container, is left out.
    No program that is started from here on gains a right. Raises PrivilegeError.
    """
    drop_for_children(keep=keep)
    if keep:
        keep_capabilities_over_setuid()
    try:
        with parent_death_signal_kept():
            os.setgroups(identity.groups)
            os.setresgid(identity.gid, identity.gid, identity.gid)
            os.setresuid(identity.uid, identity.uid, identity.uid)
    except OSError as error:
        raise PrivilegeError(f"the user {identity.name} cannot be become: {error.strerror}") from error
    set_capabilities(effective=keep, permitted=keep)


def limit_to_user(*keep: Capability) -> None:
    """The process has its user's rights alone from here on; ``keep`` stays, out of force (``raised``).

    Where its user cannot read the program itself, as with root's interpreter below /root, an import has the
    right to read for as long as it takes: modules are loaded when they are needed. Only where the process has
    that right. Raises PrivilegeError.
    """
    # Unlike Path.exists, False where this user may not look.
    own_files = [path for path in (sys.executable, *sys.path) if os.path.exists(path)]  # noqa: PTH110
    limit_capabilities(*keep, Capability.DAC_READ_SEARCH)
    if not has_capability(Capability.DAC_READ_SEARCH) or all(os.access(path, os.R_OK) for path in own_files):
        limit_capabilities(*keep)
        return
    builtins.__import__ = _with_right_to_read(builtins.__import__)
    importlib.import_module = _with_right_to_read(importlib.import_module)


def _with_right_to_read(load: Callable[_P, _T]) -> Callable[_P, _T]:
    def load_as_root(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        with raised(Capability.DAC_READ_SEARCH):
            return load(*args, **kwargs)

    return load_as_root


@contextlib.contextmanager
def root_reads(file: Path | None) -> Iterator[None]:
    """A file of root's can be read for the length of the block, by a program that has kept that right.

    Only where root alone may write the file and all that leads to it: whoever else may would choose what is
    read, so the right is out of force then. This is the thread's alone. Nothing happens to root itself, and
    where ``file`` is None.
    """
    if file is None or os.geteuid() == 0:
        yield
        return
    read = Capability.DAC_READ_SEARCH
    with raised(read):
        roots = _is_roots_alone(file)
    with raised(read) if roots else lowered(read):
        yield


def _is_roots_alone(file: Path) -> bool:
    try:
        return _find_one_user(file).uid == 0
    except PrivilegeError:
        return False
