"""The programs that units start, on the system that they are for."""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ectools.service.sections import load_definition

if TYPE_CHECKING:
    from collections.abc import Iterable

RUNNER = "every-channel-ipxe-qemu"
_SYSTEMD = (
    "usr/lib/systemd/libsystemd-shared-*.so",
    "usr/lib/*/systemd/libsystemd-shared-*.so",
    "usr/lib64/systemd/libsystemd-shared-*.so",
)
_SHARED = re.compile(r"libsystemd-shared-(\d+)")
_SYSTEM_PATH = ("usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin")


@dataclass(frozen=True, kw_only=True)
class Programs:
    """Absolute paths; ``runner`` is the guest's, beside ``ectools``. ``systemd``: its version."""

    ectools: Path
    runner: Path
    kill: Path
    nft: Path
    systemctl: Path
    systemd: int | None


def find_programs(root: Path = Path("/")) -> Programs:
    """This package's own as they were started, and the system's below ``root``.

    One that is not there gets the path at which Debian would have it: its unit says then what is missing.
    """
    own = find_own_program("ectools")
    return Programs(
        ectools=own,
        runner=own.with_name(RUNNER),
        kill=_find_system_program("kill", root),
        nft=_find_system_program("nft", root),
        systemctl=_find_system_program("systemctl", root),
        systemd=_find_systemd_version(root),
    )


def find_own_program(name: str) -> Path:
    """A console script of this package: the one that runs, else the one on PATH, else Python's neighbour.

    Symbolic links stay, because an upgrade moves what they point to.
    """
    started = Path(sys.argv[0])
    if started.name == name and started.is_file():
        return Path(os.path.abspath(started))  # noqa: PTH100 - resolve() would follow links
    found = shutil.which(name)
    return Path(found).absolute() if found else Path(sys.executable).with_name(name)


def _find_system_program(name: str, root: Path) -> Path:
    for directory in _SYSTEM_PATH:
        if (root / directory / name).exists():
            return Path("/", directory, name)
    return Path("/usr/sbin" if name == "nft" else "/usr/bin", name)


def _find_systemd_version(root: Path) -> int | None:
    """The version that the name of systemd's shared library has; nothing is run, of an image too."""
    names = (path.name for pattern in _SYSTEMD for path in root.glob(pattern))
    versions = [int(found[1]) for name in names if (found := _SHARED.match(name))]
    return max(versions, default=None)


def find_hidden(programs: Programs) -> list[Path]:
    """What of this installation a unit does not see: ProtectHome and PrivateTmp take it out of sight."""
    parts = {
        programs.ectools,
        programs.ectools.resolve(),
        Path(sys.prefix),
        Path(sys.executable).resolve(),
        Path(__file__).resolve().parents[2],
    }
    return sorted(part for part in parts if is_hidden(part))


def is_hidden(path: Path) -> bool:
    """Whether a path is below one of the directories that no unit of ours sees."""
    return is_below(path, load_definition("common")["hiddenDirectories"])


def is_below(path: Path, directories: Iterable[str]) -> bool:
    """Whether a path is one of ``directories``, or below one."""
    return any(join_slashes(path).is_relative_to(each) for each in directories)


def join_slashes(path: Path) -> Path:
    """An absolute path without the second slash that Path keeps: POSIX lets it mean more, Linux does not."""
    return Path("/", str(path).lstrip("/"))
