"""The whole reference: the modules, and what became of options that were renamed."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ectools.docs.model import DocSettings, ModuleDoc, build_module_doc, reject_undocumented
from ectools.docs.shape_check import find_shape_faults
from ectools.docs.site import Project, Site
from ectools.errors import InputError, Problem, ProblemsError
from ectools.files import read_json
from ectools.schemas import Schema, load_schema, schema_names, schemas_directory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

REDIRECTS = "redirects.json"


@dataclass(frozen=True)
class Reference:
    """What every format is written from. ``redirects``: former name of an option → the name it has.

    ``schemas`` are those of the modules, for the formats that say more of a value than its text, each with
    what is shown of its options.
    """

    modules: tuple[ModuleDoc, ...]
    redirects: Mapping[str, str]
    schemas: tuple[tuple[Schema, DocSettings], ...] = ()
    site: Site = field(default_factory=Site)


def build_reference(
    schemas: Sequence[str] = (),
    *,
    modules: Sequence[Schema] = (),
    settings: DocSettings | None = None,
    redirects: Path | None = None,
    allow_undocumented: bool = False,
    site: Site | None = None,
) -> Reference:
    """The reference of the named schemas (names or files) and of ``modules``, which were exported just now.

    Where there is none of either, it is of all of this project's.

    The projects of a ``site`` name their own schemas, and where their declarations link to.
    ``redirects`` is a JSON file, an object of former names to new ones; this project's own stands beside its
    schemas. Raises InputError, UndocumentedError.
    """
    own = schemas_directory() / REDIRECTS
    site = site or Site()
    is_own = not (schemas or modules or site.projects)
    if redirects is None and is_own and own.is_file():
        redirects = own
    settings = settings or DocSettings()
    if site.projects:
        loaded = [each for project in site.projects for each in _load_project(project, settings)]
    else:
        names = schema_names() if is_own else schemas
        loaded = [(schema, settings, "") for schema in (*map(_load, names), *modules)]
    documented = [
        replace(build_module_doc(schema, own_settings), project=project)
        for schema, own_settings, project in loaded
    ]
    _reject_same_names(documented)
    if not allow_undocumented:
        reject_undocumented(documented)
    table: dict[str, str] = {}
    if redirects is not None:
        table = load_redirects(redirects)
        _check_redirects(table, documented, redirects)
    former: dict[str, list[str]] = defaultdict(list)
    for old, new in sorted(table.items()):
        former[new].append(old)
    return Reference(
        tuple(_with_former(module, former) for module in documented),
        table,
        tuple((schema, own_settings) for schema, own_settings, _ in loaded),
        site,
    )


def _load_project(project: Project, settings: DocSettings) -> Iterator[tuple[Schema, DocSettings, str]]:
    """The schemas of a project, each with its settings and what the project is called."""
    own_settings = replace(settings, source_url=project.source_url or settings.source_url)
    title = f"{project.title} {project.version}".strip()
    for name in project.schemas or schema_names():
        yield _load(name), own_settings, title


def _reject_same_names(modules: Sequence[ModuleDoc]) -> None:
    """Raises InputError where two modules would have one page."""
    names = [module.name for module in modules]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{twice}: two schemas of that name", hint="rename the file of one of them")


def _with_former(module: ModuleDoc, former: Mapping[str, list[str]]) -> ModuleDoc:
    options = (
        replace(option, formerly=tuple(former[option.name])) if option.name in former else option
        for option in module.options
    )
    return replace(module, options=tuple(options))


def load_redirects(path: Path) -> dict[str, str]:
    """Former name → name, chains of renames followed to their end. Raises InputError, FileError."""
    table = read_json(path)
    if not isinstance(table, dict) or not all(isinstance(new, str) for new in table.values()):
        raise InputError(f"{path}: not an object of former option names to new ones")
    return {old: _follow(old, table) for old in table}


def _check_redirects(table: Mapping[str, str], modules: Sequence[ModuleDoc], path: Path) -> None:
    known = {option.name for module in modules for option in module.options}
    problems = [
        Problem(option=old, message=message, file=str(path))
        for old, new in table.items()
        for message in _find_redirect_faults(old, new, known)
    ]
    if problems:
        raise ProblemsError(f"{path}: not every redirect leads somewhere", problems)


def _follow(old: str, table: Mapping[str, str]) -> str:
    """The end of a chain of renames; a name of the chain itself where it goes round."""
    seen = {old}
    while (new := table[old]) in table and new not in seen:
        seen.add(new)
        old = new
    return new


def _find_redirect_faults(old: str, new: str, known: set[str]) -> Iterator[str]:
    if old in known:
        yield "is an option, and cannot be the former name of one"
    elif new not in known:
        yield f"leads to {new}, which is no option of these"


def _load(name: str) -> Schema:
    schema = load_schema(name, checked=False)
    problem = next(find_shape_faults(schema.document), None)
    if problem is not None:
        raise InputError(
            f"{name}: not a schema of options: {problem}", hint="ectools schema export writes such schemas"
        )
    return schema
