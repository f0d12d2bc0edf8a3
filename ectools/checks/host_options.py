"""Options of a host: the value of each, its default, and where it is declared and defined.

Each field of each option is evaluated by itself (nix/lib/inspect.nix): a value that fails leaves the rest.
"""

from __future__ import annotations

import json
import os
import re
import socket
import tempfile
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ectools.checks.evaluation import EvaluationRequest, FailedEvaluationError, evaluate_attributes
from ectools.errors import InputError
from ectools.names import show_path
from ectools.options.dump import decode_value
from ectools.options.evaluate import find_library
from ectools.suggest import find_similar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pynix_eval_shim import NixMessage

_PART = re.compile(r'"((?:[^"\\]|\\.)*)"|([^."]+)')
_APPLY = """given: import <ectools-lib/inspect.nix>
  (builtins.fromJSON (builtins.readFile <ectools-request>)) given"""
_NIXOS = Path("/etc/nixos")
_VALUES = ("value", "default", "defaultText", "example")


class ResultKind(StrEnum):
    """What a name is the name of: an option, something within an option's value, or a set of options."""

    OPTION = "option"
    VALUE = "value"
    SET = "set"
    MISSING = "missing"


@dataclass(frozen=True, kw_only=True)
class HostOption:
    """What a host has by one name.

    ``names`` are those of the options in a set, and, where there is nothing, of what there is ``at`` the path
    up to the first unknown part. ``fields`` are the others by the names of nix/lib/inspect.nix: ``value``,
    ``default``, ``defaultText`` and ``example`` are {"value": JSON}, {"text": what Nix would show} or None;
    ``definitions`` are {"file", "value"}, without the value where one of them cannot be evaluated;
    ``declarations`` are {"file", "line"}. ``errors`` are those of the fields that could not be evaluated.
    """

    path: tuple[str, ...]
    kind: ResultKind
    at: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    fields: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, FailedEvaluationError] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The dotted path, as it may be asked for."""
        return show_path(self.path)

    def show_json(self) -> dict[str, Any]:
        """The option as JSON: ``name``, ``path``, ``kind``, then ``names`` or its fields, and ``errors``."""
        shown: dict[str, Any] = {"name": self.name, "path": list(self.path), "kind": self.kind}
        if self.kind is ResultKind.SET:
            return shown | {"names": list(self.names)}
        shown |= self.fields
        return shown | {"errors": {name: error.show_json() for name, error in self.errors.items()}}


def parse_option_name(name: str) -> tuple[str, ...]:
    """The parts of a dotted name; a part with a dot stands in quotes, as in Nix. Raises InputError."""
    parts = []
    at = 0
    while at < len(name):
        found = _PART.match(name, at)
        if found is None or (found.end() < len(name) and name[found.end()] != "."):
            raise InputError(
                f"{name}: not the name of an option",
                hint='write a.b.c, and a part that has a dot in quotes: a."b.c"',
            )
        quoted, bare = found.groups()
        parts.append(bare if quoted is None else re.sub(r"\\(.)", r"\1", quoted))
        at = found.end() + 1
    if name.endswith("."):
        parts.append("")
    return tuple(parts)


def find_configuration(*, flake: str | None, directory: Path = _NIXOS) -> EvaluationRequest:
    """The host that ``flake`` names (``REF``, ``REF#NAME`` or ``REF#ATTRIBUTE.PATH``), or this machine.

    As nixos-rebuild has it, a name is one of ``nixosConfigurations``, and this machine's own where there is
    none; without a flake it is the one in /etc/nixos, else <nixos-config> or the configuration.nix there.
    Raises InputError.
    """
    if flake is None and (directory / "flake.nix").is_file():
        flake = str(directory)
    if flake is not None:
        reference, _, name = flake.partition("#")
        name = name or socket.gethostname()
        attribute = name if "." in name else f"nixosConfigurations.{json.dumps(name)}"
        return EvaluationRequest(flake=f"{reference}#{attribute}")
    entries = [entry.partition("=") for entry in os.environ.get("NIX_PATH", "").split(":")]
    named = [Path(path) for name, _, path in entries if name == "nixos-config"]
    for file in (*named, directory / "configuration.nix"):
        if file.exists():
            return EvaluationRequest(file=file.absolute())
    raise InputError(
        f"no host here: neither {directory}/flake.nix nor {directory}/configuration.nix is there",
        hint="name one with --flake REF#NAME, --file FILE or --expr NIX",
    )


def read_host_options(
    request: EvaluationRequest,
    names: Sequence[tuple[str, ...]],
    *,
    recursive: bool = False,
    tell: Callable[[NixMessage], None] | None = None,
) -> list[HostOption]:
    """What the host of ``request`` has by each of ``names``; with ``recursive`` all that is below them.

    Raises FailedEvaluationError where there is no host to ask, InputError.
    """
    kinds: dict[int, dict[str, Any]] = {}
    fields: dict[int, dict[str, Any]] = {}
    errors: dict[int, dict[str, FailedEvaluationError]] = {}

    def take(key: str, value: Any, failure: FailedEvaluationError | None) -> None:
        number, _, name = key.partition(":")
        if failure is not None:
            errors.setdefault(int(number), {})[name] = failure
        elif name == "kind":
            kinds[int(number)] = value
        else:
            fields.setdefault(int(number), {})[name] = _decode_field(name, value)

    question = {
        "names": [list(name) for name in names],
        "recursive": recursive,
        "file": None if request.file is None else str(request.file),
    }
    with tempfile.NamedTemporaryFile("w", prefix="ectools-", suffix=".json", encoding="utf-8") as file:
        json.dump(question, file)
        file.flush()
        search_path = {"ectools-lib": str(find_library()), "ectools-request": file.name}
        asked = replace(
            request, apply=_APPLY, impure=True, search_path={**request.search_path, **search_path}
        )
        evaluate_attributes(asked, on_attribute=take, tell=tell)
    for each in fields.values():
        files = each.pop("files", [])
        each.setdefault("definitions", [{"file": name} for name in files])
    return [
        HostOption(
            path=tuple(found["path"]),
            kind=ResultKind(found["kind"]),
            at=tuple(found.get("at", ())),
            names=tuple(found.get("names", ())),
            fields=fields.get(number, {}),
            errors=errors.get(number, {}),
        )
        for number, found in sorted(kinds.items())
    ]


def describe_missing(option: HostOption) -> str:
    """One line on a name that the host has nothing by, with what was probably meant."""
    unknown = option.path[len(option.at)]
    where = f"{show_path(option.at)} has no {show_path([unknown])}" if option.at else "no such option"
    similar = find_similar(unknown, option.names)
    meant = f"; did you mean {show_path([*option.at, *similar])}?" if similar else ""
    return f"{option.name}: {where}{meant}"


def _decode_field(name: str, value: Any) -> Any:
    """A field with its values as JSON has them."""
    if name in _VALUES:
        return _decode_shown(value)
    if name == "definitions":
        return [{"file": each["file"], "value": _decode_shown(each["value"])} for each in value]
    return value


def _decode_shown(shown: dict[str, Any] | None) -> dict[str, Any] | None:
    if shown is None or "value" not in shown:
        return shown
    return {"value": decode_value(shown["value"])}
