"""The whole reference: the modules, and what became of options that were renamed."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ectools.docs.model import DocSettings, ModuleDoc, build_module_doc, reject_undocumented
from ectools.docs.shape_check import find_shape_faults
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

    ``schemas`` are those of the modules, for the formats that say more of a value than its text.
    """

    modules: tuple[ModuleDoc, ...]
    redirects: Mapping[str, str]
    schemas: tuple[Schema, ...] = ()
    settings: DocSettings = field(default_factory=DocSettings)


def build_reference(
    schemas: Sequence[str] = (),
    *,
    modules: Sequence[Schema] = (),
    settings: DocSettings | None = None,
    redirects: Path | None = None,
    allow_undocumented: bool = False,
) -> Reference:
    """The reference of the named schemas (names or files) and of ``modules``, which were exported just now, or of
    all of this project's where there is none of either.

    ``redirects`` is a JSON file, an object of former names to new ones; this project's own stands beside its
    schemas. Raises InputError, UndocumentedError.
    """
    own = schemas_directory() / REDIRECTS
    names = schemas or (() if modules else schema_names())
    if redirects is None and not schemas and not modules and own.is_file():
        redirects = own
    settings = settings or DocSettings()
    loaded = (*map(_load, names), *modules)
    documented = [build_module_doc(schema, settings) for schema in loaded]
    if not allow_undocumented:
        reject_undocumented(documented)
    table: dict[str, str] = {}
    if redirects is not None:
        table = load_redirects(redirects)
        _check_redirects(table, documented, redirects)
    former: dict[str, list[str]] = defaultdict(list)
    for old, new in sorted(table.items()):
        former[new].append(old)
    return Reference(tuple(_with_former(module, former) for module in documented), table, loaded, settings)


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
