"""A service put on a system, and taken away: nothing that we have not written is touched.

All files are there before the first is replaced, and nothing is, where one of them is not ours. The service
manager is told afterwards. Until it has done all that, a file in /run says so: an installation that was cut
off is finished by the next.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ectools.errors import EcError, show_list
from ectools.files import FileError, write_all_atomic, write_atomic
from ectools.processes import ProcessError, run
from ectools.service.files import SETTINGS_MARK, UNIT_DIRECTORY, list_paths, settings_path
from ectools.service.ownership import Owner, find_owner

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from ectools.service.files import ServiceFiles
    from ectools.service.settings import ServiceName

_KERNEL_SETTINGS = Path("/proc/sys")
_SECONDS = 180.0
"""For what the service manager does at once; a server that starts has its unit's own time."""


class ServiceError(EcError):
    """A service cannot be installed or removed here."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Paths on the system that were written, were as they should be, are gone, and were left.

    ``failed``: units that are installed, and do not start.
    """

    written: tuple[PurePosixPath, ...] = ()
    unchanged: tuple[PurePosixPath, ...] = ()
    removed: tuple[PurePosixPath, ...] = ()
    left: tuple[PurePosixPath, ...] = ()
    failed: tuple[str, ...] = ()


def install(files: ServiceFiles, name: ServiceName, *, root: Path = Path("/")) -> Outcome:
    """Write the files, make users and directories, enable the units; on the running system, start them.

    What changes nothing does nothing. Raises ServiceError where a file is not ours, FileError,
    ProcessError.
    """
    check_system(root)
    settings, text = files.settings
    wanted = {**{path: each.encode() for path, each in files.texts.items()}, settings: text.encode()}
    present = {path: _read(root, path) for path in {*list_paths(name), settings}}
    _check_owners(root, name, present, wanted)
    _check_access(root, settings)
    first = next(iter(wanted))
    # The settings after one unit: whichever of these was replaced last, a unit that is there has their sum.
    order = [first, settings, *(path for path in wanted if path not in (first, settings))]
    changed = {path: wanted[path] for path in order if present.get(path) != wanted[path]}
    stale = [path for path in list_paths(name) if present[path] is not None and path not in wanted]
    pending = _pending(root, name)
    is_running = _is_running(root)
    was_cut_off = pending.exists()
    is_new = bool(changed or stale or was_cut_off)
    if is_running and is_new:
        write_atomic(pending, b"")
    _disable(root, stale)
    for path in stale:
        _below(root, path).unlink()
    for directory in {_below(root, path).parent for path in changed}:
        _make_directory(directory)
    write_all_atomic({_below(root, path): data for path, data in changed.items()})
    _set_up(files, root)
    failed: tuple[str, ...] = ()
    if is_running:
        due = files.units if was_cut_off else {path.name for path in changed}
        failed = _start(files, due, is_new=is_new)
        pending.unlink(missing_ok=True)
    return Outcome(
        written=tuple(sorted(changed)),
        unchanged=tuple(sorted(wanted.keys() - changed.keys())),
        removed=tuple(stale),
        failed=failed,
    )


def is_in_place(config: Path, name: ServiceName, *, root: Path = Path("/")) -> bool:
    """Whether the settings that were read are the file at which the units find them. Raises FileError."""
    place = _below(root, settings_path(name))
    try:
        return config.samefile(place)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise FileError(f"{place}: cannot be read: {error.strerror or error}") from error


def owns_settings(name: ServiceName, *, root: Path = Path("/")) -> bool:
    """Whether the settings that the units of a service find are as we have written them."""
    present = {path: _read(root, path) for path in (*list_paths(name), settings_path(name))}
    return _find_settings_owner(name, present) is Owner.OURS


def remove(name: ServiceName, *, root: Path = Path("/")) -> Outcome:
    """Stop and disable the units, and remove the files that are ours; others are ``left``.

    Its users stay, because the state directory is theirs, and drop-ins, which are somebody's.
    """
    check_system(root)
    settings = settings_path(name)
    present = {path: _read(root, path) for path in (*list_paths(name), settings)}
    owners = {path: find_owner(data) for path, data in present.items() if data is not None}
    if settings in owners:
        owners[settings] = _find_settings_owner(name, present)
    ours = [path for path, owner in owners.items() if owner is Owner.OURS]
    _disable(root, ours)
    for path in ours:
        _below(root, path).unlink()
    if ours and _is_running(root):
        run(["systemctl", "daemon-reload"], timeout=_SECONDS)
        _pending(root, name).unlink(missing_ok=True)
    directory = _below(root, settings).parent
    if directory.is_dir() and not any(directory.iterdir()):
        directory.rmdir()
    left = tuple(sorted(owners.keys() - set(ours)))
    return Outcome(removed=tuple(sorted(ours)), left=left)


def check_system(root: Path) -> None:
    """Raises ServiceError where no service can be installed or removed, or not by this user."""
    if _below(root, PurePosixPath("/etc/NIXOS")).exists():
        raise ServiceError(
            f"{root}: is a NixOS, which makes its units of its configuration",
            hint="import the module: ectools generate FILE makes the configuration of a host description",
        )
    if os.geteuid() != 0 and root == Path("/"):
        raise ServiceError("a service is installed and removed by root", hint="sudo ectools service …")
    if root == Path("/") and not _is_running(root):
        raise ServiceError(
            "systemd does not run here", hint="for the tree of an image: --root DIR; to look at them: show"
        )


def _is_running(root: Path) -> bool:
    """Whether ``root`` is the system that runs, under systemd (sd_booted(3))."""
    return root == Path("/") and Path("/run/systemd/system").is_dir()


def _pending(root: Path, name: ServiceName) -> Path:
    """A file that is there as long as the service manager has not been told all of what was written."""
    return _below(root, PurePosixPath(f"/run/every-channel-{name}.installing"))


def _check_owners(
    root: Path,
    name: ServiceName,
    present: dict[PurePosixPath, bytes | None],
    wanted: dict[PurePosixPath, bytes],
) -> None:
    """Raises ServiceError where a file that is there has not been written by us as it is."""
    foreign = []
    for path, data in present.items():
        if data is None or data == wanted.get(path):
            continue
        owner = _find_settings_owner(name, present) if path == settings_path(name) else find_owner(data)
        if owner is not Owner.OURS:
            said = "was changed since it was written" if owner is Owner.EDITED else "was written by another"
            foreign.append(f"{_below(root, path)} {said}")
    if foreign:
        raise ServiceError(
            f"nothing is installed: {show_list(foreign, joint='; ')}",
            hint="move it away; what you need of a unit stays in a drop-in (systemctl edit), and of the "
            "settings in a file for --config",
        )


def _check_access(root: Path, settings: PurePosixPath) -> None:
    """Raises ServiceError where the service's users could not read the settings, which are no secret."""
    place = _below(root, settings)
    for path, right, of_others in ((place.parent, "x", stat.S_IXOTH), (place, "r", stat.S_IROTH)):
        if path.exists() and not _is_open(path, of_others):
            raise ServiceError(
                f"nothing is installed: {path} is closed to the service's user",
                hint=f"chmod o+{right} {path}; a secret beside it is kept by its own mode (0600)",
            )


def _is_open(path: Path, of_others: int) -> bool:
    """Whether others have a right, or a group that is not root's; an access list (acl(5)) may give it too."""
    found = path.stat()
    if found.st_mode & of_others:
        return True
    with contextlib.suppress(OSError):  # a file system that has no attributes
        if "system.posix_acl_access" in os.listxattr(path):
            return True
    return bool(found.st_mode & of_others << 3) and found.st_gid != 0


def _find_settings_owner(name: ServiceName, present: dict[PurePosixPath, bytes | None]) -> Owner:
    """Whose the settings are: ours where one of our units has their sum."""
    data = present[settings_path(name)] or b""
    mark = f"{SETTINGS_MARK}{hashlib.sha256(data).hexdigest()}\n".encode()
    units = [
        each
        for path, each in present.items()
        if path.parent == UNIT_DIRECTORY and each is not None and find_owner(each) is not Owner.FOREIGN
    ]
    if any(mark in unit for unit in units):
        return Owner.OURS
    return Owner.EDITED if units else Owner.FOREIGN


def _set_up(files: ServiceFiles, root: Path) -> None:
    """Users, directories, and the links that enable the units."""
    given = [] if root == Path("/") else [f"--root={root}"]
    for path in files.texts:
        if path.parent.name == "sysusers.d":
            run(["systemd-sysusers", *given, str(_below(root, path))], timeout=_SECONDS)
        elif path.parent.name == "tmpfiles.d" and _is_running(root):
            run(["systemd-tmpfiles", "--create", str(path)], timeout=_SECONDS)
        elif path.parent.name == "modules-load.d" and _is_running(root):
            run(["systemctl", "restart", "systemd-modules-load.service"], timeout=_SECONDS)
        elif path.parent.name == "sysctl.d" and _is_running(root):
            _raise_kernel_settings(files.texts[path])
    if _is_running(root):
        run(["systemctl", "daemon-reload"], timeout=_SECONDS)
    run(["systemctl", *given, "enable", "--quiet", *_list_enabled(files)], timeout=_SECONDS)


def _raise_kernel_settings(text: str) -> None:
    """Set each number of a file of sysctl.d(5) that is lower on the running system, and nothing else.

    To start systemd-sysctl.service again would undo what the administrator has set by hand since the boot.
    """
    for line in text.splitlines():
        name, is_setting, value = line.removeprefix("-").partition(" = ")
        file = _KERNEL_SETTINGS / name.replace(".", "/")
        if is_setting and not line.startswith("#"):
            with contextlib.suppress(OSError, ValueError):  # in a container
                if int(file.read_text()) < int(value):
                    file.write_text(value)


def _list_enabled(files: ServiceFiles) -> list[str]:
    return [unit for unit, text in files.units.items() if "[Install]" in text]


def _start(files: ServiceFiles, due: Collection[str], *, is_new: bool) -> tuple[str, ...]:
    """Start what does not run, and start anew what is ``due``; staging takes its time in the background.

    Returns the units that do not start, which keep no other from it.
    """
    failed = []
    for unit in files.units:
        is_staging = unit.endswith("-stage.service")
        if is_staging and not is_new:
            continue
        verb = "restart" if unit in due or is_staging else "start"
        waiting = ["--no-block"] if is_staging else []
        try:
            run(["systemctl", verb, *waiting, unit])
        except ProcessError:
            failed.append(unit)
    return tuple(failed)


def _disable(root: Path, paths: Iterable[PurePosixPath]) -> None:
    units = [path.name for path in paths if path.parent == UNIT_DIRECTORY]
    if not units:
        return
    if not _is_running(root):
        run(["systemctl", f"--root={root}", "disable", "--quiet", *units], timeout=_SECONDS)
        return
    run(["systemctl", "disable", "--quiet", *units], timeout=_SECONDS)
    # What the manager has not loaded (it never ran, or cannot be used) it refuses to stop and to reset.
    active = [unit for unit, state in _read_states(units) if state not in ("inactive", "failed")]
    if active:
        run(["systemctl", "stop", *active])
    failed = [unit for unit, state in _read_states(units) if state == "failed"]
    if failed:
        run(["systemctl", "reset-failed", *failed], timeout=_SECONDS)


def _read_states(units: list[str]) -> list[tuple[str, str]]:
    shown = run(["systemctl", "show", "--property=ActiveState", "--value", *units], timeout=_SECONDS)
    return list(zip(units, shown.stdout.split(), strict=True))


def _read(root: Path, path: PurePosixPath) -> bytes | None:
    """The content; None where there is nothing. A symbolic link is never ours, whatever it leads to."""
    file = _below(root, path)
    try:
        return b"" if file.is_symlink() else file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FileError(f"{file}: cannot be read: {error.strerror or error}") from error


def _make_directory(directory: Path) -> None:
    """The directory and those above it, open to all users whatever the umask is."""
    try:
        for each in reversed((directory, *directory.parents)):
            if not each.is_dir():
                each.mkdir()
                each.chmod(0o755)
    except OSError as error:
        raise FileError(f"{directory}: cannot be made: {error.strerror or error}") from error


def _below(root: Path, path: PurePosixPath) -> Path:
    """Where the path is in the tree. Raises ServiceError where a link in the tree leads out of it."""
    place = root / path.relative_to("/")
    if root != Path("/") and not place.parent.resolve().is_relative_to(root.resolve()):
        raise ServiceError(
            f"{place.parent}: leads out of {root}, to {place.parent.resolve()}",
            hint="an absolute link in a tree is one of the system that it is on; make it a relative one",
        )
    return place
