"""Where VM tests are looked for: a directory that has no flake is told apart from a flake that is broken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from ectools.checks.vmtest import Source, find_tests
from ectools.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


class NixWasAskedError(Exception):
    pass


class Probe:
    @property
    def system(self) -> str:
        raise NixWasAskedError


def find(**source: Any) -> None:
    find_tests(Source(**source), cast("Any", Probe()))


def test_a_directory_without_a_flake_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        find()
    assert caught.value.message == f"{tmp_path}: no flake.nix is here, or in a directory above"
    assert "--flake REF" in (caught.value.hint or "")


def test_one_above_counts_and_so_does_one_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    with pytest.raises(NixWasAskedError):
        find(flake="github:somebody/theirs")
    (tmp_path / "flake.nix").touch()
    with pytest.raises(NixWasAskedError):
        find()
