"""What the commands on staged releases look at beside their arguments: whose the directory is, and /etc."""

from __future__ import annotations

from pathlib import Path

import pytest

from ectools.cli.netboot import dnsmasq, pack, serve, state


@pytest.fixture(autouse=True)
def default_config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The settings where none are named, in place of those in /etc; there are none yet."""
    path = tmp_path / "etc" / "netboot.json"
    path.parent.mkdir()
    for module in (dnsmasq, serve, state):
        monkeypatch.setattr(module, "NETBOOT_CONFIG", path)
    return path


@pytest.fixture
def owners(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The directories whose users root would become, which these tests' process must not, for good."""
    asked: list[Path] = []
    for module in (pack, state):
        monkeypatch.setattr(module, "become_owner", asked.append)
    return asked
