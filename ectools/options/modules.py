"""A module that is named: by the path of its file, or as an output of a flake.

Which framework a module was written for, its class, is told by the flake's output that it stands in
(``nixosModules``, ``homeModules``, …) or by ``class``; else by the module itself (``_class``), else it is one
of NixOS. ``nix/lib/modules.nix`` evaluates it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ectools.errors import InputError


class ModuleClass(StrEnum):
    """The module system's own words for what a module is for; ``generic`` is evaluated alone."""

    NIXOS = "nixos"
    HOME_MANAGER = "homeManager"
    DARWIN = "darwin"
    FLAKE = "flake"
    GENERIC = "generic"


_OUTPUTS = {
    "darwinModule": ModuleClass.DARWIN,
    "darwinModules": ModuleClass.DARWIN,
    "flakeModule": ModuleClass.FLAKE,
    "flakeModules": ModuleClass.FLAKE,
    "hmModule": ModuleClass.HOME_MANAGER,
    "hmModules": ModuleClass.HOME_MANAGER,
    "homeManagerModule": ModuleClass.HOME_MANAGER,
    "homeManagerModules": ModuleClass.HOME_MANAGER,
    "homeModule": ModuleClass.HOME_MANAGER,
    "homeModules": ModuleClass.HOME_MANAGER,
    "nixDarwinModules": ModuleClass.DARWIN,
    "nixosModule": ModuleClass.NIXOS,
    "nixosModules": ModuleClass.NIXOS,
}
_DEFAULT_OUTPUT = "nixosModules.default"
_SAYS_NOTHING = {
    *("default", "module", "modules", "flake-module", "options"),
    *("darwin", "hm", "home-manager", "nix-darwin", "nixos", "nixos-modules"),
}
"""Names of files and directories that a module has whatever it is about."""


@dataclass(frozen=True, kw_only=True)
class ModuleReference:
    """A module: exactly one of ``file`` (absolute) and ``flake`` with ``attribute``.

    ``name`` is what its schema is called. ``module_class`` is None where only the module itself tells it.
    """

    name: str
    file: Path | None = None
    flake: str = ""
    attribute: str = ""
    module_class: ModuleClass | None = None

    @property
    def installable(self) -> str:
        return f"{self.flake}#{self.attribute}"


def parse_module(
    text: str, *, module_class: ModuleClass | None = None, directory: Path | None = None
) -> ModuleReference:
    """The module that ``text`` names: ``PATH``, ``FLAKE#ATTRIBUTE``, or ``FLAKE`` for its default one.

    Relative paths start at ``directory``, or where the process is. A directory is a flake if it has a
    flake.nix and no default.nix. Raises InputError where there is no such file.
    """
    path = (directory or Path.cwd()) / text
    is_file = path.is_file() or (path / "default.nix").is_file()
    if "#" not in text and is_file:
        return ModuleReference(name=_name_file(path), file=path.absolute(), module_class=module_class)
    flake, _, attribute = text.partition("#")
    if "#" not in text and ":" not in text and not (path / "flake.nix").is_file():
        raise InputError(
            f"{text}: no such module",
            hint="give a file, or FLAKE#nixosModules.NAME (homeModules, darwinModules, flakeModules)",
        )
    flake, attribute = flake or ".", attribute or _DEFAULT_OUTPUT
    return ModuleReference(
        name=_name_output(flake, attribute, directory or Path.cwd()),
        flake=flake,
        attribute=attribute,
        module_class=module_class or _class_of(attribute),
    )


def _class_of(attribute: str) -> ModuleClass | None:
    """The class that an output tells; ``modules.CLASS.NAME`` is flake-parts' form."""
    output, *rest = attribute.split(".")
    if output == "modules" and rest:
        return next((known for known in ModuleClass if known == rest[0]), None)
    return _OUTPUTS.get(output)


def _name_file(path: Path) -> str:
    path = path.resolve()
    names = (path.name if path.is_dir() else path.stem, *(parent.name for parent in path.parents))
    return _plain(next((name for name in names if name and name not in _SAYS_NOTHING), "module"))


def _name_output(flake: str, attribute: str, directory: Path) -> str:
    last = attribute.rpartition(".")[2].strip('"')
    if last not in _SAYS_NOTHING and last not in _OUTPUTS:
        return _plain(last)
    # A flake is called as its directory or its repository is.
    reference = flake.partition("?")[0].removeprefix("path:")
    if (directory / reference).is_dir():
        return _plain((directory / reference).resolve().name)
    *_, repository = [part for part in re.split(r"[/:]", reference) if part] or ["module"]
    parts = reference.partition(":")[2].split("/")
    is_forge = reference.partition(":")[0] in ("github", "gitlab", "sourcehut")
    return _plain(parts[1] if is_forge and len(parts) > 1 else repository)


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", name).strip("-.") or "module"
