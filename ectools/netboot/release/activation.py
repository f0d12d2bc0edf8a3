"""The links ``current`` and ``previous``, changed together, also where the program is killed in between.

The new links are made in ``.changing/swap.new``. Its renaming to ``.changing/swap`` decides: before it
nothing has changed, after it whoever next takes the lock moves the links that are left there into their
place (``recover``). ``current`` leads to a whole release before, between and after.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from ectools.files import sync_directory
from ectools.netboot.release.store import clear_directory

if TYPE_CHECKING:
    from pathlib import Path

    from ectools.netboot.release.store import ReleaseStore

# In the order in which they are put in place.
_LINKS = ("previous", "current")


def activate(store: ReleaseStore, *, current: str, previous: str | None) -> None:
    """Let the links lead to these releases, which must be there. Only under the lock. Raises OSError."""
    decided, new = _decided(store), store.changing_dir / "swap.new"
    new.mkdir()
    for name, release_id in zip(_LINKS, (previous, current), strict=True):
        if release_id is not None:
            (new / name).symlink_to(f"releases/{release_id}")
    sync_directory(new)
    new.rename(decided)
    sync_directory(store.changing_dir)
    _carry_out(store)


def recover(store: ReleaseStore) -> None:
    """Carry out what was decided, and remove all else that is half done.

    Only under the lock. Raises OSError.
    """
    if _decided(store).is_dir():
        _carry_out(store)
    clear_directory(store.changing_dir)


def _carry_out(store: ReleaseStore) -> None:
    decided = _decided(store)
    for name in _LINKS:
        with contextlib.suppress(FileNotFoundError):
            (decided / name).rename(store.state_dir / name)
            sync_directory(store.state_dir)
    decided.rmdir()


def _decided(store: ReleaseStore) -> Path:
    return store.changing_dir / "swap"
