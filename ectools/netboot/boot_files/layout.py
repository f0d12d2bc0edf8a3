"""The TFTP directory's layout: which names it holds by the settings, and in which directories.

Names have ``/`` between directories, and no other than plain segments (``settings.boot_names``).
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from ectools.ipxe.language import AUTOEXEC_NAME
from ectools.netboot.boot_files.by_machine import find_other_filename
from ectools.netboot.protocols import Binary, load_protocols

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ectools.netboot.settings.model import NetbootSettings


def build_filenames(settings: NetbootSettings) -> Mapping[Binary, str]:
    """The names that boot binaries have."""
    names = {binary: kind.filename for binary, kind in load_protocols().binaries.items()}
    return {**names, Binary.X86_64: settings.tftp_boot_filename}


def list_scripts(settings: NetbootSettings) -> tuple[str, ...]:
    """The names of the first script: in the root, and beside each program in a directory.

    iPXE looks for it beside itself (src/interface/efi/efi_autoexec.c): since 2024 in the directory that it
    was loaded from, before in the root; where a shim loaded it, in the directory of DHCP's file name.
    """
    programs = (settings.tftp_boot_filename, *filter(_is_program, settings.ipxe.extra_files))
    directories = {"": None, **dict.fromkeys(map(posixpath.dirname, programs))}
    return tuple(posixpath.join(directory, AUTOEXEC_NAME) for directory in directories)


def list_boot_names(settings: NetbootSettings) -> tuple[str, ...]:
    """All names that the settings give, those of binaries too that are not there."""
    other = find_other_filename(settings)
    others = () if other is None else (other,)
    return (*build_filenames(settings).values(), *others, *settings.ipxe.extra_files, *list_scripts(settings))


def _is_program(name: str) -> bool:
    return name.lower().endswith(".efi")
