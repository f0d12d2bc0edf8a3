"""Settings file, environment and flags → checked settings. Light: it runs in a Nix build too.

A flag goes before the file, the file before the environment, and that before the schema's default. A variable
that is empty counts as not set.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ectools.errors import InputError
from ectools.netboot.settings.build import build_netboot_settings, build_server_settings
from ectools.netboot.settings.depot_address import DirectoryAddress, parse_depot_address
from ectools.netboot.settings.model import NETBOOT_OPTIONS, NETBOOT_SCHEMA
from ectools.netboot.settings.origins import named_as_given
from ectools.parsing import Problems
from ectools.schemas import load_schema
from ectools.settings_file import check_document, read_settings_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ectools.netboot.settings.model import NetbootSettings, ServerSettings
    from ectools.schemas import Schema
    from ectools.settings_file import SettingsFile

_T = TypeVar("_T")

# Variable → option. EVERY_CHANNEL_FORGE_TOKEN is a secret, and is read where it is used.
VARIABLES = {
    "EVERY_CHANNEL_NETBOOT_RELEASE_TAG": "release.tag",
    "EVERY_CHANNEL_NETBOOT_TARBALL": "release.tarball",
    "EVERY_CHANNEL_NETBOOT_HOSTNAME": "hostname",
    "EVERY_CHANNEL_NETBOOT_LISTEN_IP": "listenIP",
    "EVERY_CHANNEL_NETBOOT_INTERFACE": "interface",
    "EVERY_CHANNEL_NETBOOT_PROXY_SUBNET": "proxyDhcp.subnet",
}
# Which people give relative to where they are.
_PATHS = (
    "stateDir",
    "chainTokenFile",
    "release.tarball",
    "release.tokenFile",
    "release.credentialsFile",
    "release.caFile",
    "release.signature.publicKeyFile",
    "ipxe.localFile",
)
# Each of these makes the others of a lower source void.
_EXCLUSIVE = {
    "release.tag": ("release.tarball", "release.channel"),
    "release.channel": ("release.tarball", "release.tag"),
    "release.tarball": ("release.tag", "release.channel", "release.source"),
    "release.host": ("release.source",),
    "release.repo": ("release.source",),
}


@named_as_given(VARIABLES)
def load_netboot_settings(
    config: Path | None,
    *,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> NetbootSettings:
    """The settings; ``config`` None: there is no file. ``flags``: dotted option → value, None is not given.

    A proxy subnet from a flag or the environment enables ProxyDHCP. Raises InputError where the file cannot
    be read, ProblemsError with every bad field.
    """
    schema = load_schema(NETBOOT_SCHEMA)
    source = _read(config, schema, flags=flags, environment=environment)
    if not _is_set(source.document, "listenIP"):
        source.document.pop("listenIP", None)
        schema = _without_required(schema, "listenIP")
    return source.build(schema, build_netboot_settings)


@named_as_given(VARIABLES)
def load_server_settings(
    config: Path | None,
    *,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> ServerSettings:
    """The settings of what serves: as ``load_netboot_settings``, and ``listenIP`` must be there."""
    schema = load_schema(NETBOOT_SCHEMA)
    source = _read(config, schema, flags=flags, environment=environment)
    return source.build(schema, build_server_settings)


@dataclass(frozen=True)
class _Source:
    """The document that all sources make together, and the options that are not ``file``'s."""

    document: dict[str, Any]
    file: SettingsFile | None
    elsewhere: frozenset[str]

    @property
    def where(self) -> str:
        """What messages call it."""
        return "the command line and the environment" if self.file is None else str(self.file.file)

    def build(self, schema: Schema, builder: Callable[[Mapping[str, Any], Problems], _T | None]) -> _T:
        """What ``builder`` makes of it. Raises ProblemsError, with the places of what is the file's."""
        raw = check_document(
            self.document, schema, file=self.file, where=self.where, elsewhere=self.elsewhere
        )
        problems = Problems(NETBOOT_OPTIONS)
        settings = builder(raw, problems)
        if settings is None:
            error = problems.error(self.where)
            raise error if self.file is None else self.file.locate(error, elsewhere=self.elsewhere)
        return settings


def _read(
    config: Path | None,
    schema: Schema,
    *,
    flags: Mapping[str, Any] | None,
    environment: Mapping[str, str] | None,
) -> _Source:
    file = None if config is None else read_settings_file(config, schema)
    document = {} if file is None else file.document
    environment = os.environ if environment is None else environment
    elsewhere = set()
    for variable, option in VARIABLES.items():
        if environment.get(variable) and not _is_set(document, option):
            elsewhere.add(option)
            _give(document, option, environment[variable])
    for option, value in (flags or {}).items():
        if value is not None:
            elsewhere.add(option)
            for other in _EXCLUSIVE.get(option, ()):
                if (flags or {}).get(other) is None:
                    _set(document, other, None)
            _set(document, option, value)
            if option == "proxyDhcp.subnet":
                _set(document, "proxyDhcp.enable", True)
    return _Source(document, file, frozenset(elsewhere))


def _without_required(schema: Schema, option: str) -> Schema:
    """The schema with an option of its first level that may be missing."""
    required = [name for name in schema.document["required"] if name != option]
    return replace(schema, document={**schema.document, "required": required})


def _give(document: dict[str, Any], option: str, value: str) -> None:
    """Set an option from the environment, unless the file has what excludes it."""
    if any(_is_set(document, other) for other in _EXCLUSIVE.get(option, ())):
        return
    _set(document, option, value)
    if option == "proxyDhcp.subnet" and not _is_set(document, "proxyDhcp.enable"):
        _set(document, "proxyDhcp.enable", True)


def _is_set(document: Any, option: str) -> bool:
    for name in option.split("."):
        if not isinstance(document, dict) or document.get(name) is None:
            return False
        document = document[name]
    return True


def _make_absolute(source: str) -> str:
    """Where releases are published; of a directory its absolute path."""
    try:
        address = parse_depot_address(source)
    except InputError:
        return source  # the schema will say so
    return str(address.path.absolute()) if isinstance(address, DirectoryAddress) else source


def _set(document: dict[str, Any], option: str, value: Any) -> None:
    if option in _PATHS and value:
        given = value if isinstance(value, list | tuple) else [value]
        paths = [str(Path(path).absolute()) for path in given]
        value = paths[0] if len(paths) == 1 else paths
    elif option == "release.source" and value:
        value = _make_absolute(str(value))
    *directories, name = option.split(".")
    for directory in directories:
        inner = document.setdefault(directory, {})
        if not isinstance(inner, dict):
            return  # the schema will say so
        document = inner
    document[name] = value
