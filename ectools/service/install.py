"""A service put on a system, and taken away: nothing that we have not written is touched.

All files are there before the first is replaced, and nothing is, where one of them is not ours. The service
manager is told afterwards; what it is told may be told again, so an installation that was cut off is
finished by the next.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ectools.errors import EcError, show_list
from ectools.files import FileError, write_all_atomic
from ectools.processes import run
from ectools.service.files import SETTINGS_MARK, UNIT_DIRECTORY, list_paths, settings_path
from ectools.service.ownership import Owner, find_owner

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ectools.service.files import ServiceFiles
    from ectools.service.settings import ServiceName

_KERNEL_SETTINGS = Path("/proc/sys")
_SECONDS = 180.0
"""For what the service manager does at once; a server that starts has its unit's own time."""


class ServiceError(EcError):
    """A service cannot be installed or removed here."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Paths on the system that were written, were as they should be, are gone, and were left."""

    written: tuple[PurePosixPath, ...] = ()
    unchanged: tuple[PurePosixPath, ...] = ()
    removed: tuple[PurePosixPath, ...] = ()
    left: tuple[PurePosixPath, ...] = ()


def install(files: ServiceFiles, name: ServiceName, *, root: Path = Path("/")) -> Outcome:
    """Write the files, make users and directories, enable the units; on the running system, start them.

    What changes nothing does nothing. Raises ServiceError where a file is not ours, FileError,
    ProcessError.
    """
    _check_system(root)
    settings, text = files.settings
    wanted = {**{path: each.encode() for path, each in files.texts.items()}, settings: text.encode()}
    present = {path: _read(root, path) for path in {*list_paths(name), settings}}
    _check_owners(root, name, present, wanted)
    changed = {path: data for path, data in wanted.items() if present.get(path) != data}
    stale = [path for path in list_paths(name) if present[path] is not None and path not in wanted]
    _disable(root, stale)
    for path in stale:
        _below(root, path).unlink()
    for directory in {_below(root, path).parent for path in changed}:
        _make_directory(directory)
    write_all_atomic({_below(root, path): data for path, data in changed.items()})
    _set_up(files, root)
    if _is_running(root):
        _start(
            files,
            {path.name for path in changed if path.parent == UNIT_DIRECTORY},
            is_new=bool(changed or stale),
        )
    return Outcome(
        written=tuple(sorted(changed)),
        unchanged=tuple(sorted(wanted.keys() - changed.keys())),
        removed=tuple(stale),
    )


def is_in_place(config: Path, name: ServiceName, *, root: Path = Path("/")) -> bool:
    """Whether the settings that were read are the file at which the units find them."""
    place = _below(root, settings_path(name))
    return place.exists() and config.exists() and config.samefile(place)


def owns_settings(name: ServiceName, *, root: Path = Path("/")) -> bool:
    """Whether the settings that the units of a service find are as we have written them."""
    present = {path: _read(root, path) for path in (*list_paths(name), settings_path(name))}
    return _find_settings_owner(name, present) is Owner.OURS


def remove(name: ServiceName, *, root: Path = Path("/")) -> Outcome:
    """Stop and disable the units, and remove the files that are ours; others are ``left``.

    Its users stay, because the state directory is theirs, and drop-ins, which are somebody's.
    """
    _check_system(root)
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
    directory = _below(root, settings).parent
    if directory.is_dir() and not any(directory.iterdir()):
        directory.rmdir()
    left = tuple(sorted(owners.keys() - set(ours)))
    return Outcome(removed=tuple(sorted(ours)), left=left)


def _check_system(root: Path) -> None:
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


def _start(files: ServiceFiles, changed: set[str], *, is_new: bool) -> None:
    """Start what does not run, and start anew what has changed; staging takes its time in the background."""
    for unit in files.units:
        is_staging = unit.endswith("-stage.service")
        if is_staging and not is_new:
            continue
        verb = "restart" if unit in changed or is_staging else "start"
        waiting = ["--no-block"] if is_staging else []
        run(["systemctl", verb, *waiting, unit])


def _disable(root: Path, paths: Iterable[PurePosixPath]) -> None:
    units = [path.name for path in paths if path.parent == UNIT_DIRECTORY]
    if not units:
        return
    if _is_running(root):
        run(["systemctl", "disable", "--quiet", "--now", *units])
        run(["systemctl", "reset-failed", *units]) if _any_failed(units) else None
    else:
        run(["systemctl", f"--root={root}", "disable", "--quiet", *units], timeout=_SECONDS)


def _any_failed(units: list[str]) -> bool:
    shown = run(["systemctl", "show", "--property=ActiveState", "--value", *units], timeout=_SECONDS)
    return "failed" in shown.stdout.split()


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
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"{directory}: cannot be made: {error.strerror or error}") from error


def _below(root: Path, path: PurePosixPath) -> Path:
    return root / path.relative_to("/")
