"""``ectools proposals``: decisions in writing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import click

from ectools.checks.proposals import lint_proposals, load_proposals, start_proposal
from ectools.cli.complete import complete_directory
from ectools.cli.lazy import CommandGroup

_DIRECTORY = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path),
    shell_complete=complete_directory,
    default=Path("evolution/proposals"),
    show_default=True,
    help="The directory of the proposals.",
)


@click.group("proposals", cls=CommandGroup, epilog="Example: ectools proposals lint")
def proposals() -> None:
    """Lint, list and start evolution proposals."""


@proposals.command("lint")
@_DIRECTORY
def lint(directory: Path) -> int:
    """Check every proposal's name, number, status, date, sections and links; exit 1 where one is wrong."""
    problems = lint_proposals(directory)
    for problem in problems:
        click.echo(problem.render(), err=True)
    count = len(load_proposals(directory))
    click.echo(f"{count} proposals, {len(problems)} problems", err=True)
    return 1 if problems else 0


@proposals.command("list")
@_DIRECTORY
@click.option("--json", "as_json", is_flag=True, help="A JSON array of number, title, status, date and path.")
def list_(directory: Path, *, as_json: bool) -> None:
    """Print number, status, date and title of each proposal."""
    found = load_proposals(directory)
    if as_json:
        click.echo(
            json.dumps([{**vars(proposal), "path": str(proposal.path)} for proposal in found], indent=2)
        )
        return
    for proposal in found:
        click.echo(f"ECP-{proposal.number:04}  {proposal.status:<12}  {proposal.date}  {proposal.title}")


@proposals.command("new")
@_DIRECTORY
@click.argument("title")
def new(directory: Path, title: str) -> None:
    """Start a draft with the next free number, and print its path."""
    click.echo(start_proposal(directory, title, today=datetime.now(UTC).date()))


COMMAND = proposals
