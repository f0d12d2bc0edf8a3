"""Options as a dump: of the modules here, of any expression, of one module.

``request`` evaluates them; what is broken is left out and named.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ectools.errors import InputError
from ectools.nixpkgs import find_nixpkgs
from ectools.options.dump import hang_tree
from ectools.options.request import OptionsRequest, OptionsSource, options_failure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ectools.options.dump import Dump
    from ectools.options.modules import ModuleReference

_PACKAGE = Path(__file__).resolve().parent.parent
_PATH_OF = "path: /. + path"
_FRAMEWORKS = ("darwin", "flake-parts", "home-manager", "nix-darwin")
"""The inputs of a flake, by their usual names, that a module of it may have been written for."""

_KNOWN_TYPES = {"systemd option": "anything"}
"""Types of nixpkgs' modules that stand outside of its lib.types, and what they are described as."""


def find_checkout() -> Path:
    """The checkout that the current directory lies in, or the one that this package was started from.

    Raises InputError where there is none.
    """
    here = Path.cwd()
    for directory in (here, *here.parents, _PACKAGE.parent):
        if (directory / "nix" / "nixos-modules.nix").is_file() and (directory / "nix" / "lib").is_dir():
            return directory
    raise InputError(
        f"{here}: not in a checkout of every.channel, so there are no modules here",
        hint="go to a checkout, or give the options as --from EXPRESSION or --dump FILE",
    )


def find_library() -> Path:
    """The directory of ``nix/lib``: the package's own, or the checkout's that the package is started from."""
    installed = _PACKAGE / "_nix"
    return installed if installed.is_dir() else _PACKAGE.parent / "nix" / "lib"


def evaluate_modules(*, nixpkgs: str | None = None) -> Dump:
    """The options of the checkout's modules. ``nixpkgs`` is a path, None for the one that the user has.

    Raises InputError, OptionsError.
    """
    checkout = find_checkout()
    lock = checkout / "flake.lock"
    request = OptionsRequest(
        library=checkout / "nix" / "lib",
        nixpkgs=find_nixpkgs(nixpkgs),
        target=OptionsSource(expression="null"),
    )
    request.data["lock"] = str(lock) if lock.is_file() else None
    return request.answer()


def evaluate_expression(
    expression: str,
    *,
    name: str = "options",
    nixpkgs: str | None = None,
    required: bool = False,
    types: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Dump:
    """The options that a Nix expression yields: a set of options, or what ``lib.evalModules`` returns.

    ``name`` is the name of the one tree of the dump. ``required``: in submodules, what has no default and is
    not defined by the submodule itself must be set. ``types`` maps names of types that are none of nixpkgs'
    to those of nixpkgs' types that describe them. Relative paths start at ``directory``, or where the process
    is. Raises InputError, OptionsError.
    """
    directory = directory or Path.cwd()
    request = OptionsRequest(
        library=find_library(),
        nixpkgs=find_nixpkgs(nixpkgs),
        target=OptionsSource(expression=expression, directory=directory),
    )
    request.data |= _tree_data(name, directory, required=required, types=types)
    return request.answer()


def evaluate_module(
    module: ModuleReference,
    *,
    name: str | None = None,
    nixpkgs: str | None = None,
    override_inputs: Mapping[str, str] | None = None,
    required: bool = False,
    types: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Dump:
    """The options that one module declares, beyond those of the framework that it was written for.

    A flake's module is evaluated with the nixpkgs and the frameworks that its flake has as inputs, which
    ``override_inputs`` replaces, and ``nixpkgs`` the one of that name. Raises InputError, OptionsError.
    """
    directory = directory or Path.cwd()
    data: dict[str, Any] = {"class": module.module_class, "frameworks": {}, "nixpkgs": None}
    if module.file is not None:
        target = OptionsSource(expression=_PATH_OF, data=str(module.file), directory=directory)
        root = directory
    else:
        inputs = dict(override_inputs or {})
        if nixpkgs is not None:
            inputs["nixpkgs"] = f"path:{find_nixpkgs(nixpkgs)}"
        target = OptionsSource(installable=module.installable, inputs=inputs, directory=directory)
        root = _ask_flake(module, target, data)
    request = OptionsRequest(
        library=find_library(),
        # A flake says itself which nixpkgs it wants, and the environment does not.
        nixpkgs=None if nixpkgs is None and data["nixpkgs"] is not None else find_nixpkgs(nixpkgs),
        target=target,
    )
    request.data |= {**_tree_data(name or module.name, root, required=required, types=types), "module": data}
    dump = request.answer()
    if not any(tree.options for tree in dump.trees):
        raise InputError(
            f"{module.file or module.installable}: declares no option that is not there without it",
            hint="say what it was written for (--class), or evaluate it alone (--class generic)",
        )
    return replace(dump, trees=tuple(map(hang_tree, dump.trees)))


def _ask_flake(module: ModuleReference, target: OptionsSource, data: dict[str, Any]) -> Path:
    """The source of a module's flake; the locked references of its inputs go into ``data``."""
    from pynix_eval_shim import NixError, flake_metadata

    inputs = dict(target.inputs)
    try:
        flake = flake_metadata(module.flake, override_inputs=inputs, cwd=target.directory)
    except NixError as error:
        raise options_failure(error) from error
    data["nixpkgs"] = flake.inputs.get("nixpkgs")
    data["frameworks"] = {
        name: {"locked": locked} for name, locked in flake.inputs.items() if name in _FRAMEWORKS
    }
    return Path(flake.path)


def _tree_data(name: str, root: Path, *, required: bool, types: Mapping[str, str] | None) -> dict[str, Any]:
    return {
        "name": name,
        "roots": [{"prefix": "", "path": str(root)}],
        "lock": None,
        "required": required,
        "aliases": {**_KNOWN_TYPES, **(types or {})},
    }
