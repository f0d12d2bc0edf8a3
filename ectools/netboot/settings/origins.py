"""Where a setting's value was given: on the command line, in the environment, or in the settings file.

A message names it as it was given: ``--listen-ip``, ``$EVERY_CHANNEL_NETBOOT_LISTEN_IP``, or
``services.every-channel.netboot.listenIP``.
"""

from __future__ import annotations

import functools
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ectools.errors import Problem, ProblemsError
from ectools.netboot.settings.model import NETBOOT_OPTIONS, NetbootSettings, Origins

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_P = ParamSpec("_P")
_S = TypeVar("_S", bound=NetbootSettings)

# Option → flag.
OPTION_FLAGS = {
    "stateDir": "--state-dir",
    "listenIP": "--listen-ip",
    "interface": "--interface",
    "hostname": "--hostname",
    "httpPort": "--http-port",
    "proxyDhcp.subnet": "--proxy-subnet",
    "ipxe.strategy": "--strategy",
    "ipxe.localFile": "--local-file",
    "release.tarball": "--tarball",
    "release.host": "--host",
    "release.repo": "--repo",
    "release.tag": "--tag",
    "release.source": "--source",
    "release.channel": "--channel",
    "release.credentialsFile": "--credentials-file",
    "release.artifact": "--artifact",
    "release.tokenFile": "--token-file",
    "release.caFile": "--ca-file",
    "release.requireSums": "--require-sums",
    "release.signature.format": "--signature-format",
    "release.signature.publicKeyFile": "--public-key-file",
    "release.keep": "--keep",
}


def named_as_given(
    variables: Mapping[str, str],
) -> Callable[[Callable[_P, _S]], Callable[_P, _S]]:
    """A loader of settings, whose errors and whose settings know where each value was given.

    The loader's keywords ``flags`` (dotted option → value) and ``environment`` are looked at. ``variables``:
    name → dotted option.
    """

    def decorate(load: Callable[_P, _S]) -> Callable[_P, _S]:
        @functools.wraps(load)
        def load_named(*words: _P.args, **more: _P.kwargs) -> _S:
            origins = _find_origins(variables, flags=more.get("flags"), environment=more.get("environment"))
            try:
                settings = load(*words, **more)
            except ProblemsError as error:
                problems = [_rename(problem, origins) for problem in error.problems]
                raise ProblemsError(error.message, problems, hint=error.hint) from error
            return replace(settings, origins=origins)

        return load_named

    return decorate


def _rename(problem: Problem, origins: Origins) -> Problem:
    option = problem.option.removeprefix(f"{NETBOOT_OPTIONS}.")
    if option == problem.option:
        return problem  # of the file, or of what else a host description has in it
    return replace(problem, option=origins.name(option, problem.value))


def _find_origins(variables: Mapping[str, str], *, flags: Any, environment: Any) -> Origins:
    environment = os.environ if environment is None else environment
    given = {option for option, value in (flags or {}).items() if value is not None}
    return Origins(
        flags={option: OPTION_FLAGS[option] for option in given if option in OPTION_FLAGS},
        variables={
            option: (variable, environment[variable])
            for variable, option in variables.items()
            if environment.get(variable)
        },
    )
