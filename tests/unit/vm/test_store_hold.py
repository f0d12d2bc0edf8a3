"""What is held open of a store, so that its collector leaves it there."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ectools.vm import runner
from ectools.vm.store_hold import PROGRAM, hold_in_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from ectools.vm.settings import GuestSettings


def list_held() -> set[str]:
    """What is open in this process, as Nix's collector looks for it."""
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the directory's own
            found.add(os.readlink(descriptor))
    return found


def test_a_root_in_the_store_is_held_and_no_other(tmp_path: Path) -> None:
    held, linked, other = (tmp_path / name for name in ("store/a-netboot", "store/b-netboot/x", "srv/boot"))
    for directory in (held, linked, other):
        directory.mkdir(parents=True)
    link = tmp_path / "current"
    link.symlink_to(linked)
    with hold_in_store(held, link, other, store=tmp_path / "store"):
        # The link may lead elsewhere by then.
        link.unlink()
        assert {str(held), str(linked)} <= list_held()
        assert str(other) not in list_held()
    assert not {str(held), str(linked)} & list_held()


def test_the_runner_holds_what_its_guest_boots_from_and_its_own_program(
    monkeypatch: pytest.MonkeyPatch, settings_of: Callable[..., GuestSettings], tmp_path: Path
) -> None:
    asked: list[tuple[Any, ...]] = []

    class SeenError(Exception):
        pass

    def hold(*directories: Path) -> None:
        asked.append(directories)
        raise SeenError

    monkeypatch.setattr(runner, "hold_in_store", hold)
    monkeypatch.setattr(runner, "find_program", lambda *_, **__: "/bin/true")
    monkeypatch.setattr(runner, "become_guest_user", lambda _: None)
    (tmp_path / "netboot.ipxe").write_text("#!ipxe\n")
    settings = settings_of({"boot": {"http": {"root": str(tmp_path), "port": 0}}})
    with pytest.raises(SeenError), runner.prepare(settings):
        pass
    assert asked == [(PROGRAM, tmp_path)]
