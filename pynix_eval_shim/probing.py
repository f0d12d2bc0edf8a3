"""``probe``: which nix this is and what it can do here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

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

    ``system`` is what it builds for (``x86_64-linux``), ``system_features`` what it can offer a build
    (``kvm``), ``experimental_features`` what is on in each of the shim's calls. ``remote_builders`` says
    whether builds may go to other machines, which may be of other systems and have other features.
    """

    implementation: Implementation
    version: str
    release: tuple[int, ...]
    system: str
    system_features: frozenset[str]
    experimental_features: frozenset[str]
    sandbox: bool
    remote_builders: bool


def probe(*, limits: Limits | None = None, nix: Nix | None = None) -> Probe:
    """Ask nix for its version and its settings: two processes. Raises NixMissingError and other NixErrors."""
    nix = nix or Nix()
    program = nix.find("nix")
    line, release = invocation.read_version(nix)
    argv = [program, "show-config", *invocation.settings(nix)]
    finished, _ = invocation.call(nix, argv, limits=limits or Limits())
    # As text, `name = value` a line: in 2.8 the features of the JSON are numbers.
    lines = finished.stdout.decode("utf-8", "replace").splitlines()
    known = {name.strip(): value.strip() for name, _, value in (line.partition("=") for line in lines)}
    if "system" not in known:
        raise NixError(f"{program}: its settings do not say for which system it builds")
    return Probe(
        implementation=_implementation(line),
        version=line.rpartition(" ")[2],
        release=release,
        system=known["system"],
        system_features=frozenset(known.get("system-features", "").split()),
        experimental_features=frozenset(known.get("experimental-features", "").split()),
        # `relaxed` is a sandbox too, for all builds but those that ask for none.
        sandbox=known.get("sandbox", "false") != "false",
        remote_builders=_names_machines(known.get("builders", "")),
    )


def _names_machines(builders: str) -> bool:
    """Whether the setting ``builders`` names any: a list, or ``@`` and a file, which may be missing."""
    if not builders.startswith("@"):
        return bool(builders.strip())
    try:
        lines = Path(builders[1:]).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    return any(line.strip() and not line.strip().startswith("#") for line in lines)


def _implementation(line: str) -> Implementation:
    """From `nix (Nix) 2.8.0`, `nix (Lix, like Nix) 2.93.0` or `nix (Determinate Nix 3.6.2) 2.29.0`."""
    if "(Lix" in line:
        return Implementation.LIX
    return Implementation.DETERMINATE if "(Determinate" in line else Implementation.NIX
