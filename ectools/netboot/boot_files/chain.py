"""A chain of loaders: the further files that the settings name, and what a shim among them loads next."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ectools import log
from ectools.errors import InputError
from ectools.files import FileError, read_regular
from ectools.netboot.boot_files.layout import build_filenames
from ectools.netboot.boot_files.shim import find_shim
from ectools.netboot.protocols import Binary
from ectools.netboot.settings.model import NETBOOT_OPTIONS, IpxeFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ectools.netboot.settings.model import NetbootSettings

_log = log.Log(__name__)

_OPTION = f"{NETBOOT_OPTIONS}.ipxe.extraFiles"
_MAX_EXTRA_BYTES = 64 * 1024**2


@dataclass(frozen=True, kw_only=True)
class MissingStage:
    """A shim and the file that it will ask for in vain, as names in the TFTP directory.

    ``similar`` is a file that is there, and whose name differs by case alone.
    """

    shim: str
    second_stage: str
    similar: str | None


def read_extra_files(settings: NetbootSettings) -> dict[str, bytes]:
    """Name in the TFTP directory → content. Raises InputError, which names the option.

    All of them are in memory at once, and TFTP is slow: together they may have 64 MiB.
    """
    files: dict[str, bytes] = {}
    left = _MAX_EXTRA_BYTES
    for name, path in settings.ipxe.extra_files.items():
        try:
            files[name] = read_regular(path, limit=left)
        except FileError as error:
            hint = f"all files of ipxe.extraFiles may have {_MAX_EXTRA_BYTES} bytes together"
            raise InputError(f"{_OPTION}[{json.dumps(name)}]: {error.message}", hint=hint) from error
        left -= len(files[name])
    return files


def find_root_stages(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Copies in the root of the second stages of those shims that are in directories: name → content.

    There a shim looks for it whose name came in DHCP's option 67 (``ShimFacts.find_second_stage``). A name
    that another file has, in whatever case, is left to that.
    """
    taken = {name.lower() for name in files}
    copies: dict[str, bytes] = {}
    for name, data in files.items():
        shim = find_shim(data)
        if shim is None:
            continue
        beside, root = shim.find_second_stage(name), shim.find_second_stage(name, from_option=True)
        if beside is None or root is None or beside not in files:
            continue
        if root.lower() not in taken:
            copies[root] = files[beside]
            taken.add(root.lower())
    return copies


def find_missing_stages(
    files: Mapping[str, bytes], *, is_there: Callable[[str], bool] = lambda _name: False
) -> list[MissingStage]:
    """The shims among ``files`` (name → content) whose second stage is not; ``is_there`` knows of others."""
    folded = {name.lower(): name for name in files}
    missing = []
    for name, data in files.items():
        shim = find_shim(data)
        wanted = None if shim is None else shim.find_second_stage(name)
        if wanted is None or wanted in files or is_there(wanted):
            continue
        similar = folded.get(wanted.lower())
        missing.append(MissingStage(shim=name, second_stage=wanted, similar=similar))
    return missing


def warn_of_missing_stages(missing: list[MissingStage]) -> None:
    """One warning each: a shim may still get it from elsewhere, from a release over HTTP."""
    for each in missing:
        _log.warning(
            "a shim's second stage is missing: over TFTP it will not get on",
            shim=each.shim,
            missing=each.second_stage,
            hint=f"{_OPTION}[{json.dumps(each.second_stage)}] names the file to be put there"
            if each.similar is None
            else f"names are told apart by case, and there is {each.similar}",
        )


def warn_of_chain(settings: NetbootSettings) -> None:
    """The same for settings alone, as far as their files can be read here: a build may not see them."""
    paths = dict(settings.ipxe.extra_files)
    names = build_filenames(settings)
    if isinstance(settings.ipxe.x86_64, IpxeFile):
        paths[names[Binary.X86_64]] = settings.ipxe.x86_64.path
    paths |= {names[binary]: path for binary, path in settings.ipxe.files.items()}
    files = dict.fromkeys(paths, b"")
    for name, path in paths.items():
        with contextlib.suppress(FileError):
            files[name] = read_regular(path, limit=_MAX_EXTRA_BYTES)
    warn_of_missing_stages(find_missing_stages(files))
