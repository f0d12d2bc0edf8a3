"""Settings file, environment and flags → checked settings. Light: it runs in a Nix build too.

A flag goes before the file, the file before the environment, and that before the schema's default. A variable
that is empty counts as not set.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ectools.errors import ProblemsError
from ectools.netboot.settings.checks import find_problems
from ectools.netboot.settings.model import SCHEMA_NAME, Settings, build_settings
from ectools.schemas import check_settings, load_schema, parse_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    "release.signature.publicKeyFile",
    "ipxe.localFile",
)
# Stands in for the one option without a default while nothing is served.
_ANY = "0.0.0.0"  # noqa: S104 - never listened on
# Each of these makes the other one of a lower source void.
_EXCLUSIVE = {"release.tag": "release.tarball", "release.tarball": "release.tag"}


def load_settings(
    config: Path | None,
    *,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    serving: bool = False,
) -> Settings:
    """The settings; ``config`` None: there is no file. ``flags``: dotted option → value, None is not given.

    ``serving``: ``listenIP`` must be known. A proxy subnet from a flag or the environment enables ProxyDHCP.
    Raises InputError where the file cannot be read, ProblemsError with every bad field.
    """
    schema = load_schema(SCHEMA_NAME)
    document = {} if config is None else parse_settings(config, schema)
    where = "the command line and the environment" if config is None else str(config)
    environment = os.environ if environment is None else environment
    for variable, option in VARIABLES.items():
        if environment.get(variable) and not _is_set(document, option):
            _give(document, option, environment[variable])
    for option, value in (flags or {}).items():
        if value is not None:
            _set(document, _EXCLUSIVE.get(option, option), None)
            _set(document, option, value)
            if option == "proxyDhcp.subnet":
                _set(document, "proxyDhcp.enable", True)
    unknown = not serving and not _is_set(document, "listenIP")
    raw = check_settings({**document, "listenIP": _ANY} if unknown else document, schema, where=where)
    if unknown:
        del raw["listenIP"]
    problems = find_problems(raw)
    if problems:
        fields = "1 field" if len(problems) == 1 else f"{len(problems)} fields"
        raise ProblemsError(f"{where}: {fields} cannot be used", problems)
    return build_settings(raw)


def _give(document: dict[str, Any], option: str, value: str) -> None:
    """Set an option from the environment, unless the file has what excludes it."""
    if option in _EXCLUSIVE and _is_set(document, _EXCLUSIVE[option]):
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


def _set(document: dict[str, Any], option: str, value: Any) -> None:
    if option in _PATHS and value:
        value = str(Path(value).absolute())
    *directories, name = option.split(".")
    for directory in directories:
        inner = document.setdefault(directory, {})
        if not isinstance(inner, dict):
            return  # the schema will say so
        document = inner
    document[name] = value
