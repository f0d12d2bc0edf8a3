"""The settings of one service, from a file of either form: told apart by what it says, not by its name.

A *settings file* is the service's options alone, as NixOS writes them to /etc/every-channel/NAME.json. A
*host description* (``ectools validate``) has them below ``services.every-channel.NAME``, beside those of
other services, each of which takes its own. Both may be JSON, YAML or TOML.

In a host description a package is a name in nixpkgs. A program that reads one has no Nix: it finds what
the package would bring on this machine, as where the option is not set.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ectools.errors import InputError, Problem, ProblemsError
from ectools.files import FileError, read_input
from ectools.schemas import Schema, check_settings, parse_strictly

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from ectools.documents.load import HostFormat
    from ectools.documents.source_map import SourceMapped

PACKAGE_PATTERN = r"^(?:pkgs\.)?[a-zA-Z_][a-zA-Z0-9_'-]*(?:\.[a-zA-Z_][a-zA-Z0-9_'-]*)*$(?!\n)"
"""A package's attribute path in nixpkgs, with or without ``pkgs.`` before it."""

STORE_PATTERN = "^/nix/store/"
"""What the pattern of a package starts with in a module's schema (``ectools.options.types.STORE_PATH``)."""

SERVICES = ("services", "every-channel")
"""Where a host description has the services."""

_MAX_BYTES = 16 << 20


@dataclass(frozen=True)
class SettingsFile:
    """One service's options as ``file`` has them, not yet checked.

    ``is_host``: they stand in a host description. ``raw`` is the file's content, and ``form`` its format.
    """

    file: Path
    document: dict[str, Any]
    schema: Schema
    is_host: bool
    raw: bytes
    form: HostFormat

    def locate(self, error: ProblemsError, *, elsewhere: Collection[str] = ()) -> ProblemsError:
        """The error with the line and column of what it names; ``elsewhere``: options set by other means."""
        from ectools.documents.load import parse_value
        from ectools.documents.located import locate_problems

        try:
            mapped = parse_value(self.raw, file=str(self.file), form=self.form)
        except ProblemsError:
            return error  # a strict reader has taken what this one does not: the message stands alone
        start = "" if self.is_host else self.schema.prefix
        given = {f"{self.schema.prefix}.{option}" for option in elsewhere}
        located = locate_problems(error.problems, mapped, file=str(self.file), start=start, elsewhere=given)
        return ProblemsError(error.message, located, hint=error.hint)


def read_settings(path: Path, schema: Schema) -> dict[str, Any]:
    """The options that a file sets, checked, with the defaults of what it lacks filled in.

    A key whose default is not data (it depends on other options or on packages) stays absent. Raises
    InputError where the file cannot be read, ProblemsError with every bad field where it can.
    """
    found = read_settings_file(path, schema)
    return check_document(found.document, schema, file=found, where=str(path))


def check_document(
    document: dict[str, Any],
    schema: Schema,
    *,
    file: SettingsFile | None,
    where: str,
    elsewhere: Collection[str] = (),
) -> dict[str, Any]:
    """``check_settings``, whose problems have their places in ``file``."""
    try:
        return check_settings(document, schema, where=where)
    except ProblemsError as error:
        raise error if file is None else file.locate(error, elsewhere=elsewhere) from None


def read_settings_file(path: Path, schema: Schema) -> SettingsFile:
    """The options of ``schema``'s service in a file. Raises InputError, ProblemsError."""
    from ectools.documents.load import HostFormat, leave_out_schema_key

    try:
        raw = read_input(path, limit=_MAX_BYTES)
    except FileError as error:
        raise InputError(error.message) from error
    form = _find_form(path, raw)
    value = (
        parse_strictly(raw, path, where=schema.prefix)
        if form is HostFormat.JSON
        else _parse(raw, path, form).value
    )
    if not isinstance(value, dict):
        from ectools.schema_words import kind_of

        message = f"holds {kind_of(value)} where a JSON object was expected"
        problem = Problem(option=schema.prefix, message=message, file=str(path))
        raise ProblemsError(f"{path}: cannot be used", [problem])
    leave_out_schema_key(value)
    is_host = SERVICES[0] in value and SERVICES[0] not in schema.document.get("properties", {})
    if not is_host:
        return SettingsFile(path, value, schema, is_host=False, raw=raw, form=form)
    found = SettingsFile(path, {}, schema, is_host=True, raw=raw, form=form)
    document = _find_service(value, found)
    leave_out_packages(document, schema.document)
    return SettingsFile(path, document, schema, is_host=True, raw=raw, form=form)


def _find_form(path: Path, raw: bytes) -> HostFormat:
    """The format that the name says; of one that says none (a pipe), TOML where it is, and else JSON."""
    from ectools.documents.load import FORMAT_SUFFIXES, HostFormat

    named = FORMAT_SUFFIXES.get(path.suffix.lower())
    if named is not None:
        return named
    if not raw.lstrip().startswith(b"{"):
        try:
            _parse(raw, path, HostFormat.TOML)
        except ProblemsError:
            return HostFormat.JSON
        return HostFormat.TOML
    return HostFormat.JSON


def _parse(raw: bytes, path: Path, form: HostFormat) -> SourceMapped:
    from ectools.documents.load import parse_value

    return parse_value(raw, file=str(path), form=form)


def _find_service(value: dict[str, Any], found: SettingsFile) -> dict[str, Any]:
    """The service's own options. Raises ProblemsError: the description does not have them."""
    inner: Any = value
    shown = ""
    for step in (*SERVICES, found.schema.prefix.rpartition(".")[2]):
        shown = f"{shown}.{step}".lstrip(".")
        if isinstance(inner, dict) and step not in inner:
            names = ", ".join(f"{shown.rpartition('.')[0]}.{name}" for name in inner) or "nothing"
            problem = Problem(
                option=found.schema.prefix,
                message="is not in this host description",
                expected=f"its options, which this program reads; there is {names}",
            )
            raise found.locate(ProblemsError(f"{found.file}: cannot be used", [problem]))
        inner = inner[step] if isinstance(inner, dict) else None
        if not isinstance(inner, dict):
            problem = Problem(option=shown, message="is not a table of options", expected="an object")
            raise found.locate(ProblemsError(f"{found.file}: cannot be used", [problem]))
    return dict(inner)


def leave_out_packages(document: dict[str, Any], schema: dict[str, Any]) -> None:
    """Take packages that are named out of ``document``, at every depth that has options."""
    for name, option in schema.get("properties", {}).items():
        value = document.get(name)
        if isinstance(value, dict) and "properties" in option:
            document[name] = inner = dict(value)
            leave_out_packages(inner, option)
        elif (
            isinstance(value, str)
            and str(option.get("pattern")).startswith(STORE_PATTERN)
            and re.match(PACKAGE_PATTERN, value)
        ):
            del document[name]
