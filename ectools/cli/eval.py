"""``ectools eval``: a value from the flake, a file or an expression."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ectools import host
from ectools.checks.evaluation import (
    EvaluationRequest,
    FailedEvaluationError,
    evaluate_attributes,
    evaluate_request,
    find_unwritable,
)
from ectools.cli.nix_messages import show_nix_message
from ectools.cli.param_types import OVERRIDE_INPUT, Seconds
from ectools.errors import UNSET, EcError
from ectools.nixlang import RenderError, render


@click.command(
    "eval", epilog="Example: ectools eval --flake .#nixosModules --apply builtins.attrNames --json"
)
@click.option("--expr", "expression", metavar="NIX", help="Evaluate this expression.")
@click.option("--file", type=click.Path(path_type=Path), help="Evaluate this file; it may be impure.")
@click.option("--flake", metavar="REF#ATTR", help="Evaluate this output of a flake.")
@click.option("--apply", metavar="FUNCTION", help="Print what this Nix function makes of the value.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Call the value, a function, with this JSON, YAML or TOML file's.",
)
@click.option("--impure", is_flag=True, help="Let the expression read files, <names> and the environment.")
@click.option(
    "--nixpkgs",
    metavar="PATH",
    help="What <nixpkgs> means (implies --impure), or the flake's input of that name. [default: $NIXPKGS]",
)
@OVERRIDE_INPUT
@click.option("--timeout", type=Seconds(min=0, min_open=True), metavar="SECONDS", help="[default: 300]")
@click.option("--memory", type=click.IntRange(min=1), metavar="MIB", help="Of address space. [default: 8192]")
@click.option(
    "--each",
    is_flag=True,
    help="Print the attributes one by one, a JSON object a line; one that fails does not lose the others.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON; a failure is an object with the key error."
)
def eval_(
    *,
    expression: str | None,
    file: Path | None,
    flake: str | None,
    apply: str | None,
    data: Path | None,
    impure: bool,
    nixpkgs: str | None,
    inputs: tuple[tuple[str, str], ...],
    timeout: float | None,
    memory: int | None,
    each: bool,
    as_json: bool,
) -> int:
    """Evaluate Nix and print the value, as Nix text or as JSON; nothing is built.

    A failed evaluation is one error with its kind, its place, the line of source and the trace; exit 1. A
    derivation is printed as its output path. Warnings and what builtins.trace prints go to standard error.

    With --each a line is {"attr": NAME, "value": …} or {"attr": NAME, "error": …}, as soon as it is known;
    exit 1 where there was an error. --timeout and --memory are then what one attribute may take.
    """
    if sum(each is not None for each in (expression, file, flake)) != 1:
        raise click.UsageError("give one of --expr, --file and --flake")
    if inputs and flake is None:
        raise click.UsageError("--override-input goes with --flake")
    request = EvaluationRequest(
        expression=expression,
        file=file,
        flake=flake,
        apply=apply,
        data=UNSET if data is None else host.load_value(data),
        impure=impure,
        nixpkgs=nixpkgs,
        override_inputs=dict(inputs),
        seconds=timeout,
        memory_mib=memory,
    )
    try:
        if each:
            return _print_each(request)
        value = evaluate_request(request, tell=show_nix_message)
    except FailedEvaluationError as error:
        if not as_json:
            raise
        click.echo(json.dumps({"error": error.show_json()}, indent=2, ensure_ascii=False))
        return 1
    click.echo(_to_json(value) if as_json else _to_nix(value))
    return 0


def _print_each(request: EvaluationRequest) -> int:
    """Print a line for each attribute; 1 where one failed. Raises FailedEvaluationError, InputError."""
    count = {"all": 0, "failed": 0}

    def print_line(name: str, value: Any, failure: FailedEvaluationError | None) -> None:
        line = (
            {"attr": name, "value": value}
            if failure is None
            else {"attr": name, "error": failure.show_json()}
        )
        place = find_unwritable(value)
        if place is not None:
            line = {
                "attr": name,
                "error": {"class": "DataError", "message": f"{place}: JSON has no infinity"},
            }
        count["all"] += 1
        count["failed"] += "error" in line
        click.echo(json.dumps(line, ensure_ascii=False))

    evaluate_attributes(request, on_attribute=print_line, tell=show_nix_message)
    if count["failed"]:
        click.echo(f"{count['failed']} of {count['all']} attributes could not be evaluated", err=True)
    return 1 if count["failed"] else 0


def _to_json(value: Any) -> str:
    place = find_unwritable(value)
    if place is not None:
        raise EcError(f"{place}: JSON has no infinity", hint="print the value without --json")
    return json.dumps(value, indent=2, ensure_ascii=False)


def _to_nix(value: Any) -> str:
    try:
        return render(value)
    except RenderError:
        # Nix has no literal for an infinity either, and people read repr.
        if find_unwritable(value) is None:
            raise
        return repr(value)


COMMAND = eval_
