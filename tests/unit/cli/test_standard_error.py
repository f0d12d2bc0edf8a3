"""What commands have in common when they fail: a missing file's status, and one form of line for each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from ectools.cli.main import ectools

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Program


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ectools.cli.netboot.state.become_owner", lambda _directory: None)


@pytest.mark.parametrize(
    "arguments",
    [
        ["validate", "nope.toml"],
        ["generate", "nope.toml"],
        ["generate", "nope.toml", "--value"],
        ["eval", "--file", "nope.nix"],
        ["eval", "--expr", "1", "--data", "nope.json"],
        ["docs", "-o", "out", "--schema", "./nope.json"],
        ["docs", "-o", "out", "--redirects", "nope.json"],
        ["docs", "commands", "--check", "nope"],
        ["schema", "check", "--dump", "nope.json"],
        ["netboot", "stage", "--config", "nope.json"],
        ["netboot", "stage", "--state-dir", "s", "--tarball", "nope.tar.gz"],
        ["netboot", "stage", "--state-dir", "s", "--tag", "t", "--token-file", "nope"],
        ["netboot", "serve", "--config", "nope.json"],
        ["netboot", "serve", "--config", "nope.json", "--check"],
        ["netboot", "dnsmasq", "--config", "nope.json"],
        ["netboot", "ipxe", "--config", "nope.json"],
        ["netboot", "ipxe", "--state-dir", "s", "--local-file", "nope.efi"],
        ["netboot", "pack", "nope", "--tag", "t"],
        ["netboot", "releases", "list", "--config", "nope.json"],
        ["vm", "check", "--config", "nope.json"],
        ["vm", "run", "--config", "nope.json"],
        ["vm", "boot-script", "--config", "nope.json"],
        ["verify-closure", "x", "--published", "nope"],
        ["proposals", "lint", "--dir", "nope"],
        ["demo", "--payload", "nope"],
        ["demo", "netboot", "--payload", "nope"],
        ["demo", "netboot", "--ipxe", "nope"],
    ],
    ids=" ".join,
)
def test_a_file_that_is_not_there_is_wrong_input(program: Program, arguments: list[str]) -> None:
    status, _, err = program(ectools, *arguments)
    assert status == 2
    assert "nope" in err


@pytest.mark.parametrize(
    "arguments",
    [
        *(["releases", "list"], ["releases", "list", "--json"], ["releases", "verify"], ["rollback"]),
        *(["releases", "collect"], ["releases", "pin", f"sha256-{'0' * 32}"]),
    ],
    ids=" ".join,
)
def test_a_state_directory_that_is_none_is_told(
    program: Program, tmp_path: Path, arguments: list[str]
) -> None:
    (tmp_path / "file").touch()
    for name, words in (("nope", "there is no such directory"), ("file", "is no directory")):
        status, out, err = program(ectools, "netboot", *arguments, "--state-dir", name)
        assert (status, out) == (1, "")
        assert f"/{name}: {words}" in err


def test_an_empty_state_directory_holds_no_release(program: Program, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    assert program(ectools, "netboot", "releases", "list", "--state-dir", "s", "--json")[:2] == (0, "[]\n")


@pytest.mark.parametrize(
    ("arguments", "is_json"),
    [
        (["netboot", "serve", "--config", "nope.json"], True),
        (["netboot", "dnsmasq", "--config", "nope.json"], True),
        (["vm", "run", "--config", "nope.json"], True),
        (["netboot", "serve", "--config", "nope.json", "--log-format", "text"], False),
        (["netboot", "serve", "--config", "nope.json", "--check"], False),
        (["netboot", "stage", "--config", "nope.json"], False),
        (["vm", "check", "--config", "nope.json"], False),
        (["generate", "nope.toml"], False),
    ],
    ids=str,
)
def test_off_a_terminal_what_serves_speaks_json_and_the_others_text(
    program: Program, arguments: list[str], is_json: bool
) -> None:
    _, _, err = program(ectools, *arguments)
    lines = err.splitlines()
    if is_json:
        (record,) = map(json.loads, lines)
        assert record["level"] == "error"
        assert "nope" in record["event"]
    else:
        assert lines[0].startswith("ectools: ")
        assert not [line for line in lines if line.startswith("{")]


def test_all_problems_are_in_the_one_line_of_what_serves(program: Program, tmp_path: Path) -> None:
    (tmp_path / "netboot.json").write_text('{"listenIP": "x", "httpPort": "y"}')
    _, _, err = program(ectools, "netboot", "serve", "--config", "netboot.json")
    (record,) = map(json.loads, err.splitlines())
    assert record["event"].endswith("2 problems in the settings")
    assert ["listenIP" in record["problems"][0], "httpPort" in record["problems"][1]] == [True, True]


def test_a_warning_of_a_command_that_ends_is_text(program: Program, tmp_path: Path) -> None:
    (tmp_path / "empty.tar.gz").touch()
    status, _, err = program(ectools, "netboot", "stage", "--state-dir", "s", "--tarball", "empty.tar.gz")
    assert status == 1
    assert any(line.startswith("warning: ") for line in err.splitlines())
    assert not [line for line in err.splitlines() if line.startswith("{")]
