"""The options that name a module, ``--module`` and what goes with it, for the commands that have them."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ectools.options.export import Export
    from ectools.schemas import Schema

# The members of ectools.options.modules.ModuleClass, which is imported only when it is needed; a test holds
# them together.
CLASSES = ("nixos", "homeManager", "darwin", "flake", "generic")

NIXPKGS = click.option(
    "--nixpkgs",
    metavar="PATH",
    help="The nixpkgs to evaluate with, instead of $NIXPKGS, <nixpkgs> or the flake's lock.",
)


@dataclass(frozen=True, kw_only=True)
class ModuleOptions:
    """What was said of modules on the command line; without any, nothing is evaluated."""

    texts: tuple[str, ...]
    module_class: str | None
    inputs: tuple[tuple[str, str], ...]
    nixpkgs: str | None

    def __bool__(self) -> bool:
        return bool(self.texts)

    def export(
        self,
        *,
        coerced: bool = False,
        required: bool = False,
        name: str | None = None,
        types: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> list[Export]:
        """The schema of each module that was named. Raises InputError, OptionsError.

        ``name`` is that of the schema, None for the module's; ``types`` as in ``evaluate_module``.
        Paths start at ``directory``, or where the process is.
        """
        from ectools.options.evaluate import evaluate_module
        from ectools.options.export import export_tree
        from ectools.options.modules import ModuleClass, parse_module

        chosen = None if self.module_class is None else ModuleClass(self.module_class)
        exports = []
        for text in self.texts:
            dump = evaluate_module(
                parse_module(text, module_class=chosen, directory=directory),
                name=name,
                nixpkgs=self.nixpkgs,
                override_inputs=dict(self.inputs),
                required=required,
                types=types,
                directory=directory,
            )
            exports += [export_tree(dump, tree, output=coerced) for tree in dump.trees]
        return exports

    def reject_absolute(self) -> None:
        """Raise UsageError for a module that is the same in every git revision of the checkout."""
        for text in self.texts:
            flake = text.partition("#")[0] if "#" in text else "."
            if Path(text).is_absolute() or (flake and ":" in flake) or Path(flake).is_absolute():
                raise click.UsageError(
                    f"--module {text}: of two git revisions, give a path relative to the current directory, "
                    "or an output of the flake here: .#nixosModules.NAME"
                )

    def load(self) -> list[Schema]:
        """The schemas of the modules as programs use them; broken options are named on standard error."""
        from ectools.names import show_path
        from ectools.schemas import Schema

        exports = self.export()
        report_findings(exports)
        return [Schema(each.document, each.name, show_path(each.document["x-nix-path"])) for each in exports]


def report_findings(exports: list[Export]) -> int:
    """A line on standard error for each broken option; 1 where there is one, else 0."""
    findings = [finding for each in exports for finding in each.findings]
    for finding in findings:
        click.echo(f"broken option: {finding.render()}", err=True)
    return 1 if findings else 0


def module_options(*, nixpkgs: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The options, as one argument ``modules`` of the command: a ModuleOptions.

    ``nixpkgs``: with ``--nixpkgs``; else the command has an option of that name, and keeps it.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def packed(
            *positional: Any,
            module_texts: tuple[str, ...],
            module_class: str | None,
            module_inputs: tuple[tuple[str, str], ...],
            **named: Any,
        ) -> Any:
            given = named.pop("nixpkgs") if nixpkgs else named["nixpkgs"]
            modules = ModuleOptions(
                texts=module_texts, module_class=module_class, inputs=module_inputs, nixpkgs=given
            )
            alone = nixpkgs and given is not None and named.get("expression") is None
            if not modules and (module_class is not None or module_inputs or alone):
                raise click.UsageError("--class, --override-input and --nixpkgs go with --module")
            return command(*positional, modules=modules, **named)

        options = [
            click.option(
                "--module",
                "module_texts",
                multiple=True,
                metavar="PATH|FLAKE#ATTR",
                help=(
                    "A module: its file, or FLAKE#nixosModules.NAME, homeModules, darwinModules, "
                    "flakeModules. Its options, beyond those of the system that it was written for. "
                    "May be repeated."
                ),
            ),
            click.option(
                "--class",
                "module_class",
                type=click.Choice(CLASSES),
                help="What the module was written for. [default: as the flake's output or the module says]",
            ),
            click.option(
                "--override-input",
                "module_inputs",
                nargs=2,
                multiple=True,
                metavar="NAME REF",
                help="With --module: replace an input of its flake; the lock file is not touched.",
            ),
            *([NIXPKGS] if nixpkgs else []),
        ]
        for option in reversed(options):
            packed = option(packed)
        return packed

    return decorate
