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
def COMMAND(folder: Path | None, checked: Path | None, schemas: tuple[str, ...]) -> int:  # noqa: N802 - main.py's name for it
    """Write the option reference from the schemas; Nix is not needed."""
    from ectools.docs.markdown import write_pages
    from ectools.docs.model import build_module
    from ectools.docs.writing import find_stale, write_folder
    from ectools.schemas import load_schema, schema_names

    if (folder is None) == (checked is None):
        raise click.UsageError("give either -o FOLDER or --check FOLDER")
    modules = [build_module(load_schema(name)) for name in schemas or schema_names()]
    pages = {name: text.encode() for name, text in write_pages(modules).items()}
    if checked is not None:
        stale = find_stale(checked, pages)
        for line in stale:
            click.echo(line)
        return 1 if stale else 0
    assert folder is not None  # noqa: S101 - one of the two is given
    for path in write_folder(folder, pages):
        click.echo(str(path))
    return 0
