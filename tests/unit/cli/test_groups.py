"""Groups of commands: their order, what a mistyped one is told, and what is loaded for it."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from ectools.cli.lazy import CommandGroup
from ectools.cli.main import COMMANDS, ectools
from ectools.cli.netboot import NETBOOT_COMMANDS


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["netbot"], "'netboot'"),
        (["vmtests"], "'vmtest'"),
        (["netboot", "stge"], "'stage'"),
        (["netboot", "releases", "lst"], "'list'"),
        (["vm", "rn"], "'run'"),
        (["schema", "exprot"], "'export'"),
        (["docs", "chanelog"], "'changelog'"),
        (["proposals", "nwe"], "'new'"),
        (["rollout", "pase"], "'pause'"),
        (["demo", "netbot"], "'netboot'"),
        # In another group.
        (["stage"], "'netboot stage'"),
        (["verify"], "'verify-closure'"),
        (["rollback"], "'netboot rollback'"),
        (["pin"], "'netboot releases pin'"),
        (["pause"], "'rollout pause'"),
    ],
)
def test_a_mistyped_command_gets_its_suggestion(typed: list[str], meant: str) -> None:
    done = CliRunner().invoke(ectools, typed)
    assert done.exit_code == 2
    assert f"No such command {typed[-1]!r}. Did you mean {meant}?" in done.output


def test_what_is_like_nothing_gets_none() -> None:
    done = CliRunner().invoke(ectools, ["qqqq"])
    assert done.exit_code == 2
    assert "No such command 'qqqq'.\n" in done.output


def test_an_option_that_is_none_is_said_to_be_no_option() -> None:
    done = CliRunner().invoke(ectools, ["--verson"])
    assert done.exit_code == 2
    assert "--verson" in done.output
    assert "command" not in done.output.partition("Error:")[2].lower()


def test_commands_are_listed_in_the_order_of_the_work() -> None:
    listed = CliRunner().invoke(ectools, ["--help"]).output
    places = [listed.index(f"\n  {name} ") for name in COMMANDS]
    assert places == sorted(places)
    assert [*COMMANDS].index("init") < [*COMMANDS].index("validate") < [*COMMANDS].index("generate")
    work = ["pack", "stage", "ipxe", "serve", "probe"]
    assert [name for name in NETBOOT_COMMANDS if name in work] == work
    assert "Documentation: https://" in listed


def test_a_group_that_is_not_lazy_keeps_its_order_too() -> None:
    from ectools.cli.netboot.releases import releases

    context = click.Context(releases)
    assert releases.list_commands(context)[:2] == ["list", "pin"]


def list_groups(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Group]]:
    context = click.Context(group)
    found = [(path, group)]
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            found += list_groups(command, (*path, name))
    return found


@pytest.mark.parametrize(
    ("path", "group"),
    list_groups(ectools),
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else "",
)
def test_each_group_lists_its_commands_by_whole_sentences(path: tuple[str, ...], group: click.Group) -> None:
    assert isinstance(group, CommandGroup)
    shown = CliRunner().invoke(ectools, [*path, "--help"]).output.partition("\nCommands:\n")[2]
    listed = shown.partition("\n\n")[0]
    assert "..." not in listed
    assert [line.split()[0] for line in listed.splitlines() if line[2] != " "] == group.list_commands(
        click.Context(group)
    )


def test_a_rollout_is_started_before_it_is_ended() -> None:
    from ectools.cli.rollout import rollout

    assert [*rollout.commands] == ["start", "status", "pause", "resume", "abort"]
