"""What the pages are made of: the options of a schema as a flat list, in the order in which they are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ectools.docs.constraints import Constraint, find_constraints
from ectools.docs.option_walk import OptionWalk
from ectools.errors import EcError
from ectools.names import show_path
from ectools.nixlang import render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ectools.docs.links import SourceUrl
    from ectools.docs.option_walk import FoundOption
    from ectools.schemas import Schema

# The rule of the NixOS manual, so that links to it and to these pages are made alike.
_ANCHOR = str.maketrans(dict.fromkeys('*<> []:"', "_"))


@dataclass(frozen=True)
class CodeExample:
    """A default or an example: a Nix expression, or words (Markdown) where ``words``."""

    text: str
    words: bool = False


@dataclass(frozen=True)
class Declaration:
    """Where an option is declared: a file, a line from 1 or None, and a link, None where none is known."""

    file: str
    line: int | None
    url: str | None = None

    def show(self) -> str:
        return self.file if self.line is None else f"{self.file}#L{self.line}"


@dataclass(frozen=True, kw_only=True)
class OptionDoc:
    """One option. ``path`` may hold ``*`` and ``<name>`` for any index, any name.

    ``description`` and ``related_packages`` are Markdown, empty where there are none; ``formerly`` are the
    names that it had.
    """

    path: tuple[str, ...]
    name: str
    anchor: str
    description: str
    type: str
    constraints: tuple[Constraint, ...]
    default: CodeExample | None
    example: CodeExample | None
    declarations: tuple[Declaration, ...]
    related_packages: str
    read_only: bool
    internal: bool
    required: bool
    formerly: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModuleDoc:
    """One schema's options. ``prefix`` is the dotted path of what the schema describes.

    ``project`` is the title of the project that it belongs to, empty where the site is of one.
    """

    name: str
    prefix: str
    options: tuple[OptionDoc, ...]
    project: str = ""


class UndocumentedError(EcError):
    """Options without a description; the pages are not written."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(
            "\n".join([f"{len(names)} options without a description:", *(f"  {name}" for name in names)]),
            hint="give each mkOption a description, or make it internal",
        )
        self.names = tuple(names)


@dataclass(frozen=True, kw_only=True)
class DocSettings:
    """What is shown of the options, and how.

    ``internal``: internal options too; hidden ones never. ``source_url``: where declarations link to.
    """

    source_url: SourceUrl | None = None
    internal: bool = False


def build_module_doc(schema: Schema, settings: DocSettings | None = None) -> ModuleDoc:
    """The options of a schema that people set, those that decide whether and what before the others."""
    settings = settings or DocSettings()
    root = schema.document
    found = OptionWalk(root, internal=settings.internal).find_options(tuple(root.get("x-nix-path", ())))
    options = [
        _describe(each, root, settings.source_url)
        for each in sorted(found, key=lambda each: _order(each.path))
    ]
    return ModuleDoc(schema.name, schema.prefix, tuple(options))


def reject_undocumented(modules: Sequence[ModuleDoc]) -> None:
    """Raises UndocumentedError with every option that has no description."""
    names = [option.name for module in modules for option in module.options if not option.description]
    if names:
        raise UndocumentedError(names)


def make_anchor(name: str) -> str:
    """The id of an option's entry in every format."""
    return f"opt-{name}".translate(_ANCHOR)


def _order(path: tuple[str, ...]) -> list[tuple[int, str]]:
    # Whether and what comes before how.
    rank = {"enable": 0, "package": 1}
    return [(rank.get(part, 2), part) for part in path]


def _describe(found: FoundOption, root: dict[str, Any], source_url: SourceUrl | None) -> OptionDoc:
    name = show_path(found.path)
    option = found.schema
    examples = option.get("examples")
    declarations = option.get("x-nix-declarations", ())
    return OptionDoc(
        path=found.path,
        name=name,
        anchor=make_anchor(name),
        description=option.get("description", "").rstrip(),
        type=option["x-nix-type"],
        constraints=tuple(find_constraints(option, root)),
        default=_code(option, "default", option.get("default", _NOTHING)),
        example=_code(option, "example", examples[0] if examples else _NOTHING),
        declarations=tuple(parse_declaration(each, source_url) for each in declarations),
        related_packages=option.get("x-nix-related-packages", "").rstrip(),
        read_only=option.get("readOnly", False),
        internal=option.get("x-nix-internal", False),
        required=found.required,
    )


def parse_declaration(place: str, source_url: SourceUrl | None) -> Declaration:
    """``FILE`` or ``FILE#L7``, with its link where ``source_url`` is known."""
    file, _, line = place.partition("#L")
    number = int(line) if line.isdigit() else None
    # An absolute path is of another tree than the one that the template is for.
    url = None if source_url is None or file.startswith("/") else source_url.fill(file, number)
    return Declaration(file, number, url)


_NOTHING = object()


def _code(option: dict[str, Any], field: str, value: Any) -> CodeExample | None:
    if value is not _NOTHING:
        return CodeExample(render(value))
    if f"x-nix-{field}-text" in option:
        return CodeExample(option[f"x-nix-{field}-text"].strip())
    if f"x-nix-{field}-markdown" in option:
        return CodeExample(option[f"x-nix-{field}-markdown"].strip(), words=True)
    return None
