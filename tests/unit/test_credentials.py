"""Which file a secret is read from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.credentials import find_secret

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_the_managers_copy_is_read_where_it_gave_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = tmp_path / "token"
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert find_secret(named, credential="chain-token") == named
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    assert find_secret(named, credential="chain-token") == named
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials/other").touch()
    assert find_secret(named, credential="chain-token") == named
    (tmp_path / "credentials/chain-token").touch()
    assert find_secret(named, credential="chain-token") == tmp_path / "credentials/chain-token"
