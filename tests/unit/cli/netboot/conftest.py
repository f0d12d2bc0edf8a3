"""What the commands on staged releases look at beside their arguments: whose the directory is, and /etc."""

from __future__ import annotations

from pathlib import Path

import pytest

from ectools.cli.netboot import dnsmasq, pack, serve, state
from ectools.netboot.server import host_warnings


@pytest.fixture(autouse=True)
def default_config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The settings where none are named, in place of those in /etc; there are none yet."""
    path = tmp_path / "etc" / "netboot.json"
    path.parent.mkdir()
    for module in (dnsmasq, serve, state):
        monkeypatch.setattr(module, "NETBOOT_CONFIG", path)
    return path


@pytest.fixture(autouse=True)
def _silent_kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What of the kernel's numbers is too little for a crowd is the test machine's own."""
    monkeypatch.setattr(host_warnings, "_KERNEL_SETTINGS", tmp_path / "sys")


@pytest.fixture
def owners(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The directories whose users root would become, which these tests' process must not, for good."""
    asked: list[Path] = []
    for module in (pack, state):
        monkeypatch.setattr(module, "become_owner", asked.append)
    return asked
