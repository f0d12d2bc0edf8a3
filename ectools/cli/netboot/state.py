"""What the commands on staged releases share: where they stand, and as whom they are changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ectools.cli.complete import complete_directory
from ectools.netboot.settings.model import NETBOOT_CONFIG

if TYPE_CHECKING:
    from collections.abc import Callable

    from ectools.netboot.settings.model import NetbootSettings

_T = TypeVar("_T")

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help=f"The settings, alone or in a host description.  [default: {NETBOOT_CONFIG}, where there is one]",
)
_STATE_DIR = click.option(
    "--state-dir",
    metavar="DIR",
    shell_complete=complete_directory,
    help="The state directory, in place of the settings'.",
)


def state_options(command: Callable[..., _T]) -> Callable[..., _T]:
    """``--config`` and ``--state-dir``."""
    return config_option(_STATE_DIR(command))


def load_state(config: Path | None, state_dir: str | None, **flags: Any) -> NetbootSettings:
    """The settings, ready to change what stands in the state directory; ``flags``: dotted option → value."""
    settings = load_given(config, state_dir, **flags)
    become_owner(settings.state_dir)
    return settings


def load_given(config: Path | None, state_dir: str | None, **flags: Any) -> NetbootSettings:
    """The settings of the file given, or of the default one; ``flags``: dotted option → value."""
    from ectools.netboot.settings.load import load_netboot_settings

    if config is None and NETBOOT_CONFIG.exists():
        config = NETBOOT_CONFIG
    return load_netboot_settings(config, flags={"stateDir": state_dir, **flags})


def become_owner(directory: Path) -> None:
    """Root is from here on, and for good, the directory's user (``ectools.privileges`` has the rule).

    It reads what root may read all the same: a token that is root's alone, an archive below /root, and its
    own modules, which are loaded when they are needed. Raises UnsafeDirectoryError, PrivilegeError.
    """
    if os.geteuid() != 0:
        return
    # Not at the top: nobody but root needs it.
    from ectools.capabilities import Capability
    from ectools.privileges import work_as_directory_user

    work_as_directory_user(directory, keep=(Capability.DAC_READ_SEARCH,))


def show_size(size: int) -> str:
    """``293.0 MB``."""
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size} bytes"
