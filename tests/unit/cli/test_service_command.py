"""``ectools service`` as a command: what it prints, and where it writes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ectools.cli.service import COMMAND as SERVICE
from ectools.processes import Completed
from ectools.service import install, programs
from ectools.service.ownership import Owner, find_owner

if TYPE_CHECKING:
    from conftest import Program

UNIT = "every-channel-netboot"
HOST = """\
[services.every-channel.netboot]
enable = true
listenIP = "192.0.2.10"
hostname = "192.0.2.10"
chainTokenFile = "/run/secrets/chain-token"
proxyDhcp.enable = true
proxyDhcp.subnet = "192.0.2.0/24"
release.refresh = "daily"
"""


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """A host description."""
    file = tmp_path / "host.toml"
    file.write_text(HOST)
    return file


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A system that does not run, whose service manager takes whatever it is told."""
    monkeypatch.setattr(install, "run", lambda *_argv, **_options: Completed("", ""))
    directory = tmp_path / "root"
    directory.mkdir()
    return directory


def test_show_prints_each_file_below_its_path(program: Program, example: Path) -> None:
    status, out, _ = program(SERVICE, "show", "netboot", "--config", example)
    assert status == 0
    for path in (f"systemd/system/{UNIT}.service", f"tmpfiles.d/{UNIT}.conf", "every-channel/netboot.json"):
        assert f"# /etc/{path}\n" in out
    assert "LoadCredential=chain-token:/run/secrets/chain-token\n" in out


def test_show_writes_each_file_to_a_directory(program: Program, example: Path, tmp_path: Path) -> None:
    status, out, _ = program(SERVICE, "show", "netboot", "--config", example, "-o", tmp_path / "units")
    paths = [Path(line) for line in out.splitlines()]
    assert status == 0
    assert {*(tmp_path / "units").iterdir()} == {*paths}
    assert {path.name for path in paths} >= {f"{UNIT}-stage.timer", f"tmpfiles.d-{UNIT}.conf", "netboot.json"}
    assert all(find_owner(path.read_bytes()) is Owner.OURS for path in paths if path.suffix != ".json")


def test_install_and_remove_say_what_they_did(program: Program, example: Path, root: Path) -> None:
    status, out, err = program(SERVICE, "install", "netboot", "--config", example, "--root", root)
    assert (status, f"/etc/systemd/system/{UNIT}.service (written)" in out) == (0, True)
    assert "TCP 8080, UDP 69, UDP 67, UDP 4011" in err
    status, out, _ = program(SERVICE, "install", "netboot", "--config", example, "--root", root)
    assert (status, "(written)" in out, "(as it was)" in out) == (0, False, True)
    status, out, err = program(SERVICE, "remove", "netboot", "--root", root)
    assert (status, f"{UNIT}.service (removed)" in out, err) == (0, True, "")
    assert program(SERVICE, "remove", "netboot", "--root", root)[1:] == ("", "netboot is not installed\n")


def test_settings_in_their_place_are_the_administrators(program: Program, example: Path, root: Path) -> None:
    settings = root / "etc/every-channel/netboot.json"
    settings.parent.mkdir(parents=True)
    settings.write_text('{"listenIP": "192.0.2.10"}')
    arguments = ("netboot", "--root", root)
    assert program(SERVICE, "install", *arguments, "--config", settings)[0] == 0
    assert settings.read_text() == '{"listenIP": "192.0.2.10"}'
    program(SERVICE, "remove", *arguments)
    assert settings.exists()
    # Those that an installation has written stay its own, however they are named.
    settings.unlink()
    program(SERVICE, "install", *arguments, "--config", example)
    assert "(written)" not in program(SERVICE, "install", *arguments, "--config", settings)[1]
    program(SERVICE, "remove", *arguments)
    assert not settings.exists()


def test_an_installation_in_a_home_is_none_for_a_unit(
    program: Program, example: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_hidden(_programs: Any) -> list[Path]:
        return [Path("/home/a/.local")]

    monkeypatch.setattr(programs, "find_hidden", find_hidden)
    monkeypatch.setattr(install, "check_system", lambda _root: None)
    status, _, err = program(SERVICE, "install", "netboot", "--config", example)
    assert (status, "/home/a/.local" in err, "--global" in err) == (2, True, True)


def test_a_system_that_takes_no_service_is_told_before_the_settings_are_read(
    program: Program, root: Path
) -> None:
    (root / "etc").mkdir()
    (root / "etc/NIXOS").touch()
    arguments = ("netboot", "--config", "/absent.toml", "--root", root)
    status, _, err = program(SERVICE, "install", *arguments)
    assert (status, "is a NixOS" in err) == (1, True)


def test_units_that_do_not_start_are_a_failure(
    program: Program, example: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = install.Outcome(failed=(f"{UNIT}.service",))
    monkeypatch.setattr(install, "install", lambda *_arguments, **_options: outcome)
    status, _, err = program(SERVICE, "install", "netboot", "--config", example, "--root", root)
    assert (status, f"not started: {UNIT}.service" in err, f"journalctl --unit {UNIT}" in err) == (
        1,
        True,
        True,
    )


def test_bad_settings_are_told_with_their_place(program: Program, tmp_path: Path) -> None:
    file = tmp_path / "host.toml"
    file.write_text(HOST.replace('"daily"', '"daily"\nrelease.keep = -1'))
    status, _, err = program(SERVICE, "show", "netboot", "--config", file)
    assert (status, f"{file}:9:16: " in err) == (2, True)
    if not os.path.exists("/etc/every-channel/netboot.json"):
        assert program(SERVICE, "show", "netboot")[0] == 2
