"""``ectools netboot``: its subcommands are listed without being loaded, and each is where the list says."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from ectools.cli import netboot
from ectools.cli.lazy import LazyGroup

if TYPE_CHECKING:
    from conftest import Program


def test_the_help_has_all_of_them(program: Program) -> None:
    status, out, _ = program(netboot.COMMAND, "-h")
    assert status == 0
    lines = [line.split(maxsplit=1) for line in out.split("Commands:\n")[1].split("\n\n")[0].splitlines()]
    assert lines == [[name, text] for name, (_, text) in netboot.NETBOOT_COMMANDS.items()]


def test_each_module_with_a_command_is_one_of_them() -> None:
    names = {path.stem for path in Path(netboot.__file__).parent.glob("*.py")} - {"__init__"}
    modules = {name: importlib.import_module(f"ectools.cli.netboot.{name}") for name in names}
    commands = {name: module.COMMAND for name, module in modules.items() if hasattr(module, "COMMAND")}
    assert isinstance(netboot.COMMAND, LazyGroup)
    assert netboot.COMMAND.list_commands(click.Context(netboot.COMMAND)) == [*netboot.NETBOOT_COMMANDS]
    assert set(netboot.NETBOOT_COMMANDS) == set(commands)
    for name, command in commands.items():
        assert netboot.COMMAND.get_command(click.Context(netboot.COMMAND), name) is command
        assert command.name == name


@pytest.mark.parametrize("arguments", [["stag"], ["--root", "."]])
def test_what_is_none_of_them_is_wrong_usage(program: Program, arguments: list[str]) -> None:
    status, out, err = program(netboot.COMMAND, *arguments)
    assert (status, out) == (2, "")
    assert arguments[0] in err
