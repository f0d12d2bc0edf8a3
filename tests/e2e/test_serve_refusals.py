"""Starts of ``ectools netboot serve`` that are refused, and what it does without serving."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.boot_http import DEADLINE_SECONDS
from support.boot_service import (
    boot_service,
    build_argv,
    choose_address,
    require_boot_services,
    write_settings,
)
from support.diagnostics import show_errors

from ectools.processes import ProcessError, run


@pytest.fixture(autouse=True)
def _needs() -> None:
    require_boot_services()


def refuse(settings: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """A start that fails: its status and what it said."""
    done = subprocess.run(
        build_argv(settings, *arguments),
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.returncode, show_errors(done.stderr)


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        ({"listenIP": "192.0.2.77"}, 1, ["listenIP: 192.0.2.77 is no address of this host", "hint: "]),
        ({"interface": "none0"}, 2, ["netboot.interface: there is no interface none0", "hint: there are: "]),
        ({"chainTokenFile": "/none/token"}, 2, ["/none/token: cannot be read: No such file"]),
        ({"stateDir": "/dev/null/state"}, 1, ["/dev/null/state: cannot be made: Not a directory"]),
        ({"listenIP": "boot.example"}, 2, ["listenIP"]),
        ({"hostname": "-"}, 2, ["hostname"]),
    ],
)
def test_starts_that_are_refused(
    tmp_path: Path, options: dict[str, Any], status: int, words: list[str]
) -> None:
    returncode, text = refuse(write_settings(tmp_path, **options))
    assert returncode == status
    for word in words:
        assert word in text


def test_an_interface_without_the_address(tmp_path: Path) -> None:
    other = next(name for _, name in socket.if_nameindex() if name != "lo")
    returncode, text = refuse(write_settings(tmp_path, interface=other))
    assert returncode == 1
    assert f"interface: {other} does not have the address 127." in text
    assert "hint: lo has it" in text


def test_ports_that_are_taken(tmp_path: Path) -> None:
    settings = write_settings(tmp_path)
    raw = json.loads(settings.read_text())
    with socket.create_server((raw["listenIP"], raw["httpPort"])):
        returncode, text = refuse(settings)
    assert returncode == 1
    assert f"{raw['listenIP']}:{raw['httpPort']}: cannot listen: Address already in use" in text
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind((raw["listenIP"], 69))
        returncode, text = refuse(settings)
    assert returncode == 1
    assert f"TFTP cannot have UDP {raw['listenIP']}:69: Address already in use" in text
    assert "sport = :69" in text


def test_without_dnsmasq_the_package_is_named(tmp_path: Path) -> None:
    returncode, text = refuse(write_settings(tmp_path), PATH="/none")
    assert returncode == 1
    assert "dnsmasq: program not found" in text
    assert "dnsmasq-base" in text


def test_without_the_right_to_low_ports_it_says_so(tmp_path: Path) -> None:
    settings = write_settings(tmp_path)
    without = ["setpriv", "--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service"]
    argv = [*without, *build_argv(settings)]
    with pytest.raises(ProcessError) as caught:
        run(argv, timeout=DEADLINE_SECONDS)
    assert caught.value.returncode == 1
    assert ":69: Permission denied" in caught.value.stderr
    assert "CAP_NET_BIND_SERVICE" in caught.value.stderr


def test_settings_are_checked_without_a_look_at_the_machine(tmp_path: Path) -> None:
    settings = write_settings(tmp_path, listenIP="192.0.2.77", stateDir="/none/at/all")
    assert "can be used" in run([*build_argv(settings), "--check"]).stderr
    text = run([*build_argv(settings), "--print-dnsmasq"]).stdout
    assert "listen-address=192.0.2.77\n" in text
    assert not Path("/none").exists()


def test_two_services_on_one_host(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    with (
        boot_service(write_settings(tmp_path / "a")) as one,
        boot_service(write_settings(tmp_path / "b")) as two,
    ):
        assert one.address != two.address
        assert one.health()["status"] == two.health()["status"] == "ok"
    assert choose_address().startswith("127.")
