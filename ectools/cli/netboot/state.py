"""What the commands on staged releases share: where they stand, and as whom they are changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ectools.errors import EcError
from ectools.netboot.settings import DEFAULT_CONFIG

if TYPE_CHECKING:
    from collections.abc import Callable

    from ectools.netboot.settings import Settings

T = TypeVar("T")

# <linux/capability.h>
_CAPABILITY_VERSION = 0x20080522
_CAP_DAC_READ_SEARCH = 2

_CONFIG = click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help=f"The settings.  [default: {DEFAULT_CONFIG}, where there is one]",
)
_STATE_DIR = click.option("--state-dir", metavar="DIR", help="The state folder, in place of the settings'.")


def state_options(command: Callable[..., T]) -> Callable[..., T]:
    """``--config`` and ``--state-dir``."""
    return _CONFIG(_STATE_DIR(command))


def load_state(config: Path | None, state_dir: str | None, **flags: Any) -> Settings:
    """The settings, ready to change what stands in the state folder; ``flags``: dotted option → value."""
    settings = load_given(config, state_dir, **flags)
    become_owner(settings.state_dir)
    return settings


def load_given(config: Path | None, state_dir: str | None, **flags: Any) -> Settings:
    """The settings of the file given, or of the default one; ``flags``: dotted option → value."""
    from ectools.netboot.load import load_settings

    if config is None and DEFAULT_CONFIG.exists():
        config = DEFAULT_CONFIG
    return load_settings(config, flags={"stateDir": state_dir, **flags})


def become_owner(state_dir: Path) -> None:
    """Root acts as the folder's owner from here on: what root made, the service could not remove.

    It reads what root may read all the same: a token that is root's alone, an archive below /root, and its
    own modules, which are loaded when they are needed.
    """
    if os.geteuid() != 0 or not state_dir.is_dir():
        return
    owner = state_dir.stat()
    if owner.st_uid == 0:
        return
    # Not at the top: nobody but root needs it. Not below: its files may be root's alone.
    import ctypes

    try:
        os.setgroups([owner.st_gid])
        os.setegid(owner.st_gid)
        os.seteuid(owner.st_uid)
    except OSError as error:
        raise EcError(
            f"{state_dir}: is the user {owner.st_uid}'s, as whom root cannot act here: {error.strerror}",
            hint="run the command as that user",
        ) from error
    # seteuid(2) took every capability. This one comes back; a container may lack it, and goes without.
    libc = ctypes.CDLL(None)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    # Effective, permitted and inheritable: of the lower 32 capabilities, and of the others.
    sets = (ctypes.c_uint32 * 6)()
    if libc.capget(header, sets) == 0:
        sets[0] |= sets[1] & 1 << _CAP_DAC_READ_SEARCH
        libc.capset(header, sets)


def show_size(size: int) -> str:
    """``293.0 MB``."""
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size} bytes"
