"""``probe``: which nix this is and what it can do here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum

from pynix_eval_shim import invocation
from pynix_eval_shim.errors import NixError
from pynix_eval_shim.invocation import Nix
from pynix_eval_shim.limits import Limits


class Implementation(StrEnum):
    """Whose nix command it is."""

    NIX = "nix"
    LIX = "lix"
    DETERMINATE = "determinate"


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A nix and its settings. ``version`` is as nix writes it, ``release`` its numbers, for comparing.

    ``system`` is what it builds for (``x86_64-linux``); ``system_features`` what it can offer a build (``kvm``);
    ``experimental_features`` what its configuration turns on, beside what the shim turns on for each call.
    """

    implementation: Implementation
    version: str
    release: tuple[int, ...]
    system: str
    system_features: frozenset[str]
    experimental_features: frozenset[str]
    sandbox: bool


def probe(*, limits: Limits | None = None, nix: Nix | None = None) -> Probe:
    """Ask nix for its version and its settings (two processes). Raises NixMissingError and any other NixError."""
    nix = nix or Nix()
    program = nix.find("nix")
    line, release = invocation.read_version(program)
    argv = [program, "show-config", "--json", *invocation.settings(nix)]
    finished, _ = invocation.call(nix, argv, limits=limits or Limits())
    try:
        known = {name: setting["value"] for name, setting in json.loads(finished.stdout).items()}
        turned_on = frozenset(known["experimental-features"]) - set(invocation.FEATURES[1].split())
        return Probe(
            implementation=_implementation(line),
            version=line.rpartition(" ")[2],
            release=release,
            system=known["system"],
            system_features=frozenset(known["system-features"]),
            experimental_features=turned_on,
            # `relaxed` is a sandbox too, for all builds but those that ask for none.
            sandbox=known.get("sandbox") not in (None, False, "false", "disabled"),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NixError(f"{program}: its settings cannot be understood: {error!r}") from error


def _implementation(line: str) -> Implementation:
    """From `nix (Nix) 2.8.0`, `nix (Lix, like Nix) 2.93.0` or `nix (Determinate Nix 3.6.2) 2.29.0`."""
    if "(Lix" in line:
        return Implementation.LIX
    return Implementation.DETERMINATE if "(Determinate" in line else Implementation.NIX
