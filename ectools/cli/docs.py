"""``ectools docs``: the option reference, from the schemas alone."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("docs", epilog="Example: ectools docs -o ./option-docs")
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder to write the pages into.",
)
@click.option(
    "--check",
    "checked",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Write nothing; exit 1 where the pages in this folder are not what would be written.",
)
@click.option(
    "--schema",
    "schemas",
    multiple=True,
    metavar="NAME|FILE",
    help="A schema to document, by its name or its file; may be repeated. [default: all of this project]",
)
def docs(folder: Path | None, checked: Path | None, schemas: tuple[str, ...]) -> int:
    """Write the option reference from the schemas; Nix is not needed."""
    from ectools.docs import build_pages
    from ectools.docs.writing import find_stale, write_folder

    if (folder is None) == (checked is None):
        raise click.UsageError("give either -o FOLDER or --check FOLDER")
    pages = build_pages(schemas)
    if checked is not None:
        stale = find_stale(checked, pages)
        for line in stale:
            click.echo(line)
        return 1 if stale else 0
    assert folder is not None  # noqa: S101 - one of the two is given
    for path in write_folder(folder, pages):
        click.echo(str(path))
    return 0


COMMAND = docs
