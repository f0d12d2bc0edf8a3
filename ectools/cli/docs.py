"""``ectools docs``: the option reference, and the changelog of options, from the schemas alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ectools.cli.complete import complete_schema
from ectools.cli.lazy import CommandGroup
from ectools.cli.module_options import ModuleOptions, module_options

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_C = TypeVar("_C", bound="Callable[..., Any]")

# The members of ectools.docs.Format, which is imported only when it is needed; a test holds them together.
FORMATS = ("markdown", "html", "man", "json", "options-json")

_REDIRECTS = click.option(
    "--redirects",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A JSON object of former option names to new ones. [default: redirects.json beside this project's "
    "schemas, for these]",
)


def _directory_options(command: _C) -> _C:
    """``directory`` and ``checked``, of which ``_write_or_check`` takes one."""
    checked = click.option(
        "--check",
        "checked",
        type=click.Path(path_type=Path, file_okay=False, exists=True),
        help="Write nothing; exit 1 where the pages in this directory are not what would be written.",
    )
    directory = click.option(
        "-o",
        "--output",
        "directory",
        type=click.Path(path_type=Path, file_okay=False),
        help="The directory to write the pages into.",
    )
    return directory(checked(command))


def _need_one(written: Path | None, checked: Path | None, *, what: str) -> None:
    """Raises click.UsageError: what is to be written has one place, to write it to or to check."""
    if (written is None) == (checked is None):
        raise click.UsageError(f"give either -o {what} or --check {what}")


@click.group(
    "docs",
    cls=CommandGroup,
    invoke_without_command=True,
    epilog="Example: ectools docs --format html -o ./option-docs",
)
@_directory_options
@click.option(
    "--format",
    "formats",
    type=click.Choice(FORMATS),
    multiple=True,
    default=FORMATS[:1],
    show_default=True,
    help="What to write; may be repeated.",
)
@click.option(
    "--schema",
    "schemas",
    multiple=True,
    metavar="NAME|FILE",
    shell_complete=complete_schema,
    help="A schema to document, by its name or its file; may be repeated. [default: all of this project]",
)
@module_options()
@click.option(
    "--source-url",
    metavar="TEMPLATE",
    help="Where declarations link to: https://example.org/blob/main/{path}#L{line}.",
)
@click.option("--title", help="What the pages are of: the project's name. [default: Options]")
@click.option("--project-version", "version", help="The version that they are of.")
@click.option(
    "--man-page",
    metavar="NAME(SECTION)",
    help="The name and the section of the page of the manual. [default: ectools-options(5)]",
)
@click.option(
    "--guide",
    "guides",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A page of Markdown that becomes one of the HTML pages, with its pictures; may be repeated.",
)
@click.option(
    "--site",
    "site_file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help=(
        "A TOML file in place of these options and --schema, for several projects in one site: title, "
        "version, man-page, guides, and [[project]] with title, version, schemas and source-url."
    ),
)
@_REDIRECTS
@click.option("--internal", is_flag=True, help="Document internal options too.")
@click.option("--allow-undocumented", is_flag=True, help="Options without a description are no error.")
@click.pass_context
def docs(
    context: click.Context,
    *,
    directory: Path | None,
    checked: Path | None,
    formats: tuple[str, ...],
    schemas: tuple[str, ...],
    modules: ModuleOptions,
    source_url: str | None,
    title: str | None,
    version: str | None,
    man_page: str | None,
    guides: tuple[Path, ...],
    site_file: Path | None,
    redirects: Path | None,
    internal: bool,
    allow_undocumented: bool,
) -> int | None:
    """Write the option reference from the schemas; Nix is needed for --module alone.

    An option without a description is an error (exit 1), and so is a redirect that leads nowhere (exit 2).
    """
    if context.invoked_subcommand is not None:
        return None
    _need_one(directory, checked, what="DIRECTORY")
    if site_file is not None and (schemas or modules or title or version or man_page or guides):
        raise click.UsageError("--site says the title, version, man page, guides and schemas: give it alone")
    import gc

    from ectools.docs import DocFormat, write_pages
    from ectools.docs.data import DATA_FILE
    from ectools.docs.links import SourceUrl
    from ectools.docs.model import DocSettings
    from ectools.docs.options_json import OPTIONS_JSON_FILE
    from ectools.docs.reference import build_reference
    from ectools.docs.site import Site, load_site, parse_man_page

    # What is made here is held until the command ends: the collector would look through it again and again.
    gc.disable()
    click.get_current_context().call_on_close(gc.enable)
    site = (
        load_site(site_file)
        if site_file is not None
        else Site(
            title=title or "Options",
            version=version or "",
            man_page=parse_man_page(man_page or "ectools-options(5)"),
            guides=guides,
        )
    )
    reference = build_reference(
        schemas,
        modules=modules.load(),
        settings=DocSettings(
            source_url=None if source_url is None else SourceUrl(source_url), internal=internal
        ),
        redirects=redirects,
        allow_undocumented=allow_undocumented,
        site=site,
    )
    pages: dict[str, bytes] = {}
    for name in formats:
        pages |= write_pages(reference, DocFormat(name))
    if DocFormat.JSON in formats and DocFormat.OPTIONS_JSON not in formats:
        # The name that our own JSON had before, for programs that still read it there.
        pages[OPTIONS_JSON_FILE] = pages[DATA_FILE]
    return _write_or_check(pages, directory=directory, checked=checked)


def _write_or_check(pages: Mapping[str, bytes], *, directory: Path | None, checked: Path | None) -> int:
    """The exit status: of writing the pages, or of a look whether they are what would be written."""
    from ectools.docs.writing import find_stale, write_directory

    if checked is not None:
        stale = find_stale(checked, pages)
        for line in stale:
            click.echo(line)
        return 1 if stale else 0
    assert directory is not None  # noqa: S101 - one of the two is given
    click.echo("\n".join(map(str, write_directory(directory, pages))))
    return 0


@docs.command("commands", epilog="Example: ectools docs commands --check docs/man")
@_directory_options
def commands(*, directory: Path | None, checked: Path | None) -> int:
    """Write a manual page for each command, for `man`."""
    _need_one(directory, checked, what="DIRECTORY")
    from ectools.cli.main import DOCS_URL, ectools
    from ectools.cli.vm import every_channel_ipxe_qemu
    from ectools.docs.commands_man import write_command_pages

    programs = {"ectools": ectools, "every-channel-ipxe-qemu": every_channel_ipxe_qemu}
    pages = {
        name: text.encode()
        for program, command in programs.items()
        for name, text in write_command_pages(command, program=program, url=DOCS_URL).items()
    }
    return _write_or_check(pages, directory=directory, checked=checked)


@docs.command("metrics", epilog="Example: ectools docs metrics --check docs/METRICS.md")
@click.option(
    "-o",
    "--output",
    "written",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write the page into.",
)
@click.option(
    "--check",
    "checked",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Write nothing; exit 1 where this file is not what would be written.",
)
def metrics(*, written: Path | None, checked: Path | None) -> int:
    """Write the page of the boot server's metrics, as Markdown."""
    _need_one(written, checked, what="FILE")
    from ectools.docs.metrics_page import write_metrics_page
    from ectools.files import write_atomic

    page = write_metrics_page().encode()
    if checked is not None:
        if checked.read_bytes() == page:
            return 0
        click.echo(f"{checked}: is not what would be written")
        return 1
    assert written is not None  # noqa: S101 - one of the two is given
    write_atomic(written, page)
    click.echo(written)
    return 0


@docs.command("changelog", epilog="Example: ectools docs changelog v1.0 HEAD")
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@_REDIRECTS
def changelog(old: str, new: str, redirects: Path | None) -> None:
    """Print what became of the options, as Markdown.

    OLD and NEW are schemas, directories of them, or git revisions of this checkout.
    """
    from ectools.docs.changelog import write_changelog
    from ectools.options.revisions import open_schemas

    with open_schemas(old) as before, open_schemas(new) as after:
        click.echo(write_changelog(before, after, redirects=redirects), nl=False)


COMMAND = docs
