"""A message names a setting as it was given: by its flag, its variable, or its option's path."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
import pytest

from ectools.cli.netboot import NETBOOT_COMMANDS
from ectools.cli.netboot.ipxe import ipxe
from ectools.cli.netboot.serve import serve
from ectools.cli.netboot.stage import stage
from ectools.errors import ProblemsError
from ectools.netboot.settings.load import load_netboot_settings, load_server_settings
from ectools.netboot.settings.model import NETBOOT_OPTIONS, Origins
from ectools.netboot.settings.origins import OPTION_FLAGS
from ectools.schemas import load_schema

if TYPE_CHECKING:
    from pathlib import Path

VARIABLE = "EVERY_CHANNEL_NETBOOT_LISTEN_IP"


OTHER = "services.every-channel.other.a"


def find_names(
    tmp_path: Path, file: dict[str, Any], *, flags: dict[str, Any], environment: dict[str, str]
) -> list[str]:
    """What the problems of these sources call their options."""
    config = tmp_path / "netboot.json"
    config.write_text(json.dumps(file))
    with pytest.raises(ProblemsError) as caught:
        load_server_settings(config, flags=flags, environment=environment)
    return [problem.option for problem in caught.value.problems]


@pytest.mark.parametrize("bad", ["x", "300.0.0.1"])  # for the schema, and for what a schema cannot say
def test_each_source_has_its_name(tmp_path: Path, bad: str) -> None:
    path = f"{NETBOOT_OPTIONS}.listenIP"
    assert find_names(tmp_path, {"listenIP": bad}, flags={}, environment={}) == [path]
    assert find_names(tmp_path, {}, flags={"listenIP": bad}, environment={}) == ["--listen-ip"]
    assert find_names(tmp_path, {}, flags={}, environment={VARIABLE: bad}) == [f"${VARIABLE}"]


def test_the_source_that_counts_is_named(tmp_path: Path) -> None:
    given = {"flags": {"listenIP": "x"}, "environment": {VARIABLE: "y"}}
    assert find_names(tmp_path, {"listenIP": "z"}, **given) == ["--listen-ip"]  # type: ignore[arg-type]
    # The file goes before the environment.
    names = find_names(tmp_path, {"listenIP": "z"}, flags={}, environment={VARIABLE: "y"})
    assert names == [f"{NETBOOT_OPTIONS}.listenIP"]
    # A flag that is not given, and a variable that is empty, are no source.
    names = find_names(tmp_path, {"listenIP": "z"}, flags={"listenIP": None}, environment={VARIABLE: ""})
    assert names == [f"{NETBOOT_OPTIONS}.listenIP"]


def test_other_problems_keep_their_names(tmp_path: Path) -> None:
    names = find_names(tmp_path, {"hostname": 7}, flags={"listenIP": "192.0.2.1"}, environment={})
    assert names == [f"{NETBOOT_OPTIONS}.hostname"]


@pytest.mark.parametrize(
    ("name", "text", "option"),
    [
        ("a.json", '{"listenIP": 1, "listenIP": 2}', NETBOOT_OPTIONS),
        ("a.json", "//", NETBOOT_OPTIONS),
        ("a.toml", "\xff", "(the whole file)"),
        ("a.yaml", "services:\n  every-channel:\n    other:\n      a: 1\n      a: 1\n", OTHER),
    ],
)
def test_a_fault_of_the_file_is_none_of_an_option(tmp_path: Path, name: str, text: str, option: str) -> None:
    file = tmp_path / name
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ProblemsError) as caught:
        load_server_settings(file, flags={"listenIP": "192.0.2.1"}, environment={})
    assert [problem.option for problem in caught.value.problems] == [option]


def test_settings_know_their_origins_and_are_equal_without(tmp_path: Path) -> None:
    by_flag = load_netboot_settings(None, flags={"stateDir": "/s"}, environment={})
    config = tmp_path / "netboot.json"
    config.write_text('{"stateDir": "/s"}')
    by_file = load_netboot_settings(config, environment={})
    assert by_flag == by_file
    assert by_flag.origins.name("stateDir", "/s") == "--state-dir"
    assert by_file.origins.name("stateDir", "/s") == f"{NETBOOT_OPTIONS}.stateDir"


def test_a_variable_is_named_where_its_value_is_used() -> None:
    origins = Origins(variables={"hostname": ("HOST", "boot.test")})
    assert origins.name("hostname", "boot.test") == "$HOST"
    assert origins.name("hostname", "other.test") == f"{NETBOOT_OPTIONS}.hostname"


def test_each_flag_is_one_of_a_command_and_each_option_one_of_the_schema() -> None:
    assert {"stage", "ipxe", "serve"} <= set(NETBOOT_COMMANDS)
    flags = {
        name
        for command in (stage, ipxe, serve)
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for name in parameter.opts
    }
    assert set(OPTION_FLAGS.values()) <= flags
    for option in OPTION_FLAGS:
        node = load_schema("ec-netboot", checked=False).document
        for name in option.split("."):
            node = node["properties"][name]
