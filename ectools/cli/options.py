"""``ectools options``: what a host has by the name of an option, and where that comes from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import click

from ectools.checks.evaluation import EvaluationRequest
from ectools.checks.host_options import (
    ResultKind,
    describe_missing,
    find_configuration,
    parse_option_name,
    read_host_options,
)
from ectools.checks.host_options_text import write_option_text
from ectools.cli.nix_messages import show_nix_message
from ectools.cli.param_types import OVERRIDE_INPUT, Seconds
from ectools.errors import InputError


@click.command("options", epilog="Example: ectools options services.openssh.ports --flake .#ecp-forge --json")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option(
    "--flake",
    metavar="REF[#NAME]",
    help="A flake's nixosConfigurations.NAME, or any path of attributes. [default: this machine's]",
)
@click.option(
    "--file",
    type=click.Path(path_type=Path),
    help="A NixOS configuration, or an expression for what lib.evalModules returns.",
)
@click.option(
    "--expr", "expression", metavar="NIX", help="What lib.evalModules returns, or a set of options."
)
@click.option("-r", "--recursive", is_flag=True, help="All options below each NAME.")
@click.option(
    "--nixpkgs",
    metavar="PATH",
    help="What <nixpkgs> means, or the flake's input of that name. [default: $NIXPKGS]",
)
@OVERRIDE_INPUT
@click.option("--timeout", type=Seconds(min=0, min_open=True), metavar="SECONDS", help="[default: 300]")
@click.option("--memory", type=click.IntRange(min=1), metavar="MIB", help="Of address space. [default: 8192]")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, an object for each option.")
def options(
    *,
    names: tuple[str, ...],
    flake: str | None,
    file: Path | None,
    expression: str | None,
    recursive: bool,
    nixpkgs: str | None,
    inputs: tuple[tuple[str, str], ...],
    timeout: float | None,
    memory: int | None,
    as_json: bool,
) -> int:
    """Show options of a host: value, default, type, description, where they are declared and defined.

    NAME is an option's (services.openssh.ports), or goes on within its value (users.users.root.shell; a part
    with a dot in quotes), or is the name of a set, whose options are listed; without one, all sets are.
    <name> and * stand for any name: what is declared, and no value.

    The host is a flake's, a file's or an expression's; without any, this machine's: /etc/nixos/flake.nix,
    else <nixos-config> or /etc/nixos/configuration.nix. In JSON a value is {"value": …}, or {"text": …} where
    JSON has no words for it.

    Exit 1 where a value cannot be evaluated, with its error in its place; 2 where there is no such option.
    """
    if sum(each is not None for each in (flake, file, expression)) > 1:
        raise click.UsageError("give one of --flake, --file and --expr at most")
    asked = [parse_option_name(name) for name in names] or [()]
    if expression is not None:
        host = EvaluationRequest(expression=expression)
    elif file is not None:
        host = EvaluationRequest(file=file.absolute())
    else:
        host = find_configuration(flake=flake)
    if inputs and host.flake is None:
        raise click.UsageError("--override-input goes with --flake")
    request = replace(host, nixpkgs=nixpkgs, override_inputs=dict(inputs), seconds=timeout, memory_mib=memory)
    found = read_host_options(request, asked, recursive=recursive, tell=show_nix_message)
    shown = [option for option in found if option.kind is not ResultKind.MISSING]
    if as_json:
        click.echo(json.dumps([option.show_json() for option in shown], indent=2, ensure_ascii=False))
    elif shown:
        click.echo("\n\n".join(write_option_text(option) for option in shown))
    missing = [option for option in found if option.kind is ResultKind.MISSING]
    if missing:
        raise InputError("\n".join(describe_missing(option) for option in missing))
    return 1 if any({"value", "definitions"} & option.errors.keys() for option in shown) else 0


COMMAND = options
