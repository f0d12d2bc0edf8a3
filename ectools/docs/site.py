"""What the pages say of themselves: titles, versions, the man page's name, and the guides beside the options.

A site of several projects is told in a TOML file:

    title = "Our options"                # of the whole
    man-page = "our-options(5)"          # name and section
    guides = ["docs/START.md"]           # Markdown, relative to the file
    [[project]]
    title = "netboot"
    version = "1.2"
    schemas = ["netboot.schema.json"]    # files relative to this one, or names of this project's modules
    source-url = "https://example.org/blob/v1.2/{path}#L{line}"
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ectools.docs.links import SourceUrl
from ectools.errors import InputError
from ectools.files import read_bytes

if TYPE_CHECKING:
    from pathlib import Path

_MAN_PAGE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._+-]*)\(([1-9][a-z]*)\)")


@dataclass(frozen=True)
class ManPage:
    """The name of a page of the manual, and the section that it is in."""

    name: str = "ectools-options"
    section: str = "5"

    @property
    def file(self) -> str:
        return f"{self.name}.{self.section}"


@dataclass(frozen=True, kw_only=True)
class Project:
    """One project of a site. ``schemas`` are names or files, none for all of this project's."""

    title: str = ""
    version: str = ""
    schemas: tuple[str, ...] = ()
    source_url: SourceUrl | None = None


@dataclass(frozen=True, kw_only=True)
class Site:
    """The whole of the pages. ``guides`` are files of Markdown, shown in this order."""

    title: str = "Options"
    version: str = ""
    man_page: ManPage = field(default_factory=ManPage)
    guides: tuple[Path, ...] = ()
    projects: tuple[Project, ...] = ()


def parse_man_page(text: str) -> ManPage:
    """``NAME(SECTION)``. Raises InputError."""
    found = _MAN_PAGE.fullmatch(text)
    if found is None:
        raise InputError(
            f"{text}: not the name of a page of the manual", hint="it is NAME(SECTION): our-options(5)"
        )
    return ManPage(found[1], found[2])


def load_site(path: Path) -> Site:
    """The site that a file describes. Raises FileError, InputError."""
    try:
        raw = tomllib.loads(read_bytes(path).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as TOML: {error}") from None
    fields = _Fields(path, raw, "")
    projects = raw.pop("project", [])
    if not isinstance(projects, list) or not all(isinstance(each, dict) for each in projects):
        raise InputError(f"{path}: project is no list of tables", hint="write [[project]] before each")
    site = Site(
        title=fields.text("title", "Options"),
        version=fields.text("version", ""),
        man_page=parse_man_page(fields.text("man-page", "ectools-options(5)")),
        guides=tuple(path.parent / name for name in fields.texts("guides")),
        projects=tuple(_read_project(_Fields(path, each, "project.")) for each in projects),
    )
    fields.reject_others()
    return site


def _read_project(fields: _Fields) -> Project:
    source_url = fields.text("source-url", "")
    here = fields.path.parent
    project = Project(
        title=fields.text("title", ""),
        version=fields.text("version", ""),
        schemas=tuple(
            str(here / name) if "/" in name or name.endswith(".json") else name
            for name in fields.texts("schemas")
        ),
        source_url=SourceUrl(source_url) if source_url else None,
    )
    fields.reject_others()
    return project


class _Fields:
    """The fields of a table, each taken once. Raises InputError for what is of another kind, or left over."""

    def __init__(self, path: Path, raw: dict[str, Any], prefix: str) -> None:
        self.path = path
        self.raw = raw
        self.prefix = prefix

    def text(self, name: str, default: str) -> str:
        value = self.raw.pop(name, default)
        if not isinstance(value, str):
            raise InputError(f"{self.path}: {self.prefix}{name} is no text")
        return value

    def texts(self, name: str) -> list[str]:
        value = self.raw.pop(name, [])
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise InputError(f"{self.path}: {self.prefix}{name} is no list of texts")
        return value

    def reject_others(self) -> None:
        if self.raw:
            names = ", ".join(f"{self.prefix}{name}" for name in self.raw)
            raise InputError(f"{self.path}: {names}: there is no such field", hint="see ectools docs --help")
