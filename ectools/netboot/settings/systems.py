"""Which machines the settings let in and have no system for, as far as names tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools import log
from ectools.netboot.kernel import find_named_architecture
from ectools.netboot.protocols import Binary, find_own_kernel
from ectools.netboot.settings.model import Tarballs

if TYPE_CHECKING:
    from ectools.netboot.settings.model import NetbootSettings

_log = log.Log(__name__)


def warn_of_missing_systems(settings: NetbootSettings) -> None:
    """A warning where ``ipxe.arm64File`` lets machines in that no archive of this host is for.

    Of an archive whose name says no architecture nothing is known, nor of what a forge's release has.
    """
    source, own = settings.release.source, find_own_kernel(Binary.ARM64)
    if Binary.ARM64 not in settings.ipxe.files or not isinstance(source, Tarballs):
        return
    named = {find_named_architecture(path.name) for path in source.paths}
    if None not in named and own not in named:
        _log.warning(
            "ipxe.arm64File lets machines in, and release.tarball has nothing for them: they will be told so,"
            " and boot nothing",
            tarball=[path.name for path in source.paths],
            hint=f"name the archive for {own} beside it, or unset ipxe.arm64File",
        )
