"""The TFTP directory's content: boot binaries, the files of a chain, and the first script beside them.

``STATE_DIR/tftp.json`` (``{name: sha256}``) says what was written there by us. A file that it does not name,
or that somebody changed since, is never removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ectools.errors import InputError
from ectools.files import FileError, hold_lock, open_regular, parse_json, sync_directory, write_atomic
from ectools.ipxe.language import AUTOEXEC_NAME
from ectools.netboot.boot_files.chain import (
    find_missing_stages,
    find_root_stages,
    read_extra_files,
    warn_of_missing_stages,
)
from ectools.netboot.boot_files.choose import choose_binaries
from ectools.netboot.boot_files.layout import list_scripts
from ectools.netboot.boot_files.scripts.first_stage import build_autoexec
from ectools.netboot.settings.boot_names import list_parents

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from ectools.netboot.protocols import StockBinary
    from ectools.netboot.settings.model import NetbootSettings

_RECORD = "tftp.json"
_DIRECTORY_MODE = 0o755
_BINARY_MODE = 0o644
# It may hold the token.
_SCRIPT_MODE = 0o640


@dataclass(frozen=True, kw_only=True)
class Installed:
    """What an installation did, as names in ``directory``: ``files`` by the settings, ``written`` anew,
    ``removed``.
    """

    directory: Path
    files: tuple[str, ...]
    written: tuple[str, ...]
    removed: tuple[str, ...]


def install_boot_files(
    settings: NetbootSettings, token: str | None, *, stock: Collection[StockBinary] = ()
) -> Installed:
    """Make the TFTP directory what the settings say. Nothing is written before all of it is known to be good.

    ``stock``: the stock binaries that some machines get, whatever the others do.

    Each file is swapped by rename; one that is the same already is left alone. Raises BinaryError, FileError,
    InputError, LockedError, ScriptError.
    """
    directory = settings.tftp_dir
    try:
        settings.state_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
        directory.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
    except OSError as error:
        raise FileError(f"{directory}: cannot be made: {error.strerror}") from error
    with hold_lock(settings.state_dir / ".tftp.lock", what=f"the directory {directory}"):
        files = choose_binaries(settings, present=_find(directory / settings.tftp_boot_filename), stock=stock)
        files |= read_extra_files(settings)
        script = build_autoexec(settings, token).encode("ascii")
        missing = find_missing_stages(files, is_there=lambda name: (directory / name).is_file())
        files |= find_root_stages(files)
        files |= dict.fromkeys(list_scripts(settings), script)
        installed = _install(settings.state_dir / _RECORD, directory, files)
    warn_of_missing_stages(missing)
    return installed


def _install(record: Path, directory: Path, files: dict[str, bytes]) -> Installed:
    before = _read_record(record)
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    parents = list(dict.fromkeys(parent for name in files for parent in list_parents(name)))
    # First what will be ours: a kill below leaves nothing that the next run does not know of.
    _write_record(record, {**before, **sums})
    obsolete = [name for name in before if name not in files]
    # A file where a directory is wanted now, or the other way round: these go first.
    blocking = [name for name in obsolete if name in parents or files.keys() & list_parents(name)]
    removed = [name for name in blocking if _remove(directory, name, before[name])]
    _check_directories(directory, parents)
    written = []
    for parent in parents:
        _make_directory(directory / parent)
    for name, data in files.items():
        mode = _SCRIPT_MODE if posixpath.basename(name) == AUTOEXEC_NAME else _BINARY_MODE
        if _find(directory / name) != data or (directory / name).stat().st_mode & 0o777 != mode:
            write_atomic(directory / name, data, mode=mode)
            written.append(name)
    removed += [name for name in obsolete if _remove(directory, name, before[name])]
    _write_record(record, sums)
    return Installed(directory=directory, files=tuple(files), written=tuple(written), removed=tuple(removed))


def _check_directories(directory: Path, parents: list[str]) -> None:
    """Where directories are wanted there is nothing, or one: a link would lead out of the TFTP directory."""
    for parent in parents:
        path = directory / parent
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            raise FileError(
                f"{path}: is no directory, and ipxe.extraFiles or tftpBootFilename name files below it",
                hint="remove it, or give these files another name",
            )


def _make_directory(path: Path) -> None:
    """A directory that whoever serves it may look into, whatever the umask is."""
    try:
        path.mkdir(exist_ok=True)
        if path.stat().st_mode & 0o777 != _DIRECTORY_MODE:
            path.chmod(_DIRECTORY_MODE)
    except OSError as error:
        raise FileError(f"{path}: cannot be made: {error.strerror}") from error


def _find(path: Path) -> bytes | None:
    """The content of a regular file; None where there is none."""
    if not path.is_file() or path.is_symlink():
        return None
    with os.fdopen(open_regular(path, follow=False), "rb") as file:
        return file.read()


def _remove(directory: Path, name: str, sha256: str) -> bool:
    """Remove a file that is as it was written, and the directories above it that are empty then."""
    path = directory / name
    if any((directory / parent).is_symlink() for parent in list_parents(name)):
        return False
    data = _find(path)
    if data is None or hashlib.sha256(data).hexdigest() != sha256:
        return False
    try:
        path.unlink()
    except OSError as error:
        raise FileError(f"{path}: cannot be removed: {error.strerror}") from error
    holder = path.parent
    with contextlib.suppress(OSError):  # it is not empty
        while holder != directory:
            holder.rmdir()
            holder = holder.parent
    sync_directory(holder)
    return True


def _read_record(path: Path) -> dict[str, str]:
    """What we wrote before; nothing where the record is missing or is no record: then nothing is removed."""
    raw = None
    with contextlib.suppress(InputError):
        raw = parse_json(_find(path) or b"null", where=str(path))
    if not isinstance(raw, dict):
        return {}
    return {name: sha256 for name, sha256 in raw.items() if isinstance(sha256, str) and _is_below(name)}


def _is_below(name: str) -> bool:
    """Whether a name of the record is of a file below the TFTP directory: it may be anybody's text."""
    return "\0" not in name and all(segment not in {"", ".", ".."} for segment in name.split("/"))


def _write_record(path: Path, sums: dict[str, str]) -> None:
    write_atomic(path, (json.dumps(sums, indent=2, sort_keys=True) + "\n").encode())
