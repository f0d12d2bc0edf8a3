"""When those who were turned away come again."""

from __future__ import annotations

from pathlib import Path

from ectools.netboot.http.settings import HttpSettings


def test_who_was_turned_away_together_does_not_come_again_together() -> None:
    settings = HttpSettings(root=Path("/"), retry_after_seconds=4)
    assert {settings.choose_retry_after() for _ in range(1000)} == {4, 5, 6, 7, 8}
