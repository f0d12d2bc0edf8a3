"""Tests that do not end, for test_reaper.py: each holds what real tests hold, and notes that it does.

Not collected: given to a pytest by its path, with the directory of the notes in ``EC_HELD``.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import NoReturn

from support.boot_http import boot_server
from support.guests import empty_root, settings_for, start_runner
from support.hanging_mount import hanging_mount
from support.lan import build_lan, run
from support.machine_image import find_image
from support.machine_nspawn import boot_nspawn
from support.machine_store import Store
from support.needs import require_tool


def test_guest(tmp_path: Path) -> None:
    """A guest on a LAN of network namespaces, with a DHCP server, a macvtap link and a table of nftables."""
    (tmp_path / "lan").mkdir()
    with build_lan(tmp_path / "lan") as lan:
        run([*lan.wrapper, require_tool("nft", "install nftables"), "add table inet held"])
        macvtap = {"enable": True, "macvtap": {"interface": lan.uplink}}
        settings = settings_for(tmp_path / "state", empty_root(tmp_path / "root"), lan=macvtap)
        with start_runner(settings, tmp_path, wrapper=lan.wrapper) as runner:
            runner.wait_guest_pid()
            hold("guest")


def test_mount(tmp_path: Path) -> None:
    with hanging_mount(tmp_path):
        hold("mount")


def test_container(tmp_path: Path) -> None:
    (tmp_path / "nix").mkdir()
    nothing = Store(directory=tmp_path / "nix", disk=tmp_path / "nix")
    with boot_nspawn(tmp_path, find_image(), nothing):
        hold("container")


def test_server(tmp_path: Path) -> None:
    with boot_server(empty_root(tmp_path / "root"), tmp_path / "log"):
        hold("server")


def test_sleep() -> None:
    with subprocess.Popen(["sleep", "3600"]):
        hold("sleep")


def hold(name: str) -> NoReturn:
    Path(os.environ["EC_HELD"], name).touch()
    while True:
        signal.pause()
