"""NixOS VM tests in a flake's checks: which there are, what each needs, and why one cannot run here.

A VM test is a derivation ``checks.<system>.vm-NAME`` that requires the system feature ``nixos-test``, as all
do that ``testers.runNixOSTest`` makes. Its name has letters, digits and ``_.+-`` only.
"""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ectools import log
from ectools.errors import EcError, InputError
from ectools.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pynix_eval_shim import Nix, NixError, Probe

_log = log.Log(__name__)

TEST_PREFIX = "vm-"
FEATURE = "nixos-test"
_NIXPKGS = "nixpkgs"
"""The flake input that a tree on this machine may stand in for."""
_DEFAULT_SECONDS = 3600.0
_DEFAULT_NODE_MIB = 1024  # virtualisation.memorySize's own default
_NAMES = f"""checks: builtins.filter
  (name: builtins.substring 0 {len(TEST_PREFIX)} name == "{TEST_PREFIX}") (builtins.attrNames checks)"""
# lib.lazyDerivation, which runTest returns, hides the derivation's own attributes but for these.
_DESCRIPTION = """test: {
  inherit (test) drvPath system;
  description = test.meta.description or null;
  seconds = test.meta.timeout or null;
  nodes = builtins.mapAttrs (name: node: node.virtualisation.memorySize or null) (test.nodes or { });
}"""
_NAME = re.compile(r"[\w.+-]+", re.ASCII)
_FEATURES_ITEM = re.compile(r'\("requiredSystemFeatures","((?:[^"\\]|\\.)*)"\)')
_JSON_ITEM = re.compile(r'\("__json","((?:[^"\\]|\\.)*)"\)')


class CannotRunError(EcError):
    """No VM test can be run here at all (exit status 3)."""

    exit_code: ClassVar[int] = 3


@dataclass(frozen=True, kw_only=True)
class Source:
    """The flake that has the tests, and how its derivations are evaluated and built.

    ``builders`` are remote builders as nix.conf(5) writes them, None for those that are configured.
    """

    flake: str = "."
    system: str | None = None
    override_inputs: Mapping[str, str] = field(default_factory=dict)
    builders: str | None = None
    nix: Nix | None = None


@dataclass(frozen=True, kw_only=True)
class VmTest:
    """One test. ``nodes`` maps its machines to their ``virtualisation.memorySize`` in MiB.

    ``features`` are the system features that its derivation requires, None where they are not known.
    ``seconds`` is its timeout (``meta.timeout``). ``broken`` says why it cannot be evaluated, ``obstacle``
    why it cannot run here.
    """

    name: str
    drv: str = ""
    system: str = ""
    description: str | None = None
    features: frozenset[str] | None = None
    nodes: Mapping[str, int] = field(default_factory=dict)
    seconds: float = _DEFAULT_SECONDS
    broken: str | None = None
    obstacle: str | None = None

    @property
    def memory_mib(self) -> int:
        """What its machines take together."""
        return sum(self.nodes.values()) or _DEFAULT_NODE_MIB


def make_nix(source: Source) -> Nix:
    """The nix to use, with the source's builders."""
    from pynix_eval_shim import Nix

    nix = source.nix or Nix()
    return (
        nix if source.builders is None else replace(nix, options={**nix.options, "builders": source.builders})
    )


def probe_nix(source: Source) -> Probe:
    """What this machine's nix is. Raises CannotRunError where there is none."""
    from pynix_eval_shim import NixError, probe

    try:
        return probe(nix=make_nix(source))
    except NixError as error:
        raise CannotRunError(f"VM tests cannot be run here: {error}", hint=error.hint) from error


def find_tests(source: Source, probe: Probe, names: Sequence[str] = ()) -> list[VmTest]:
    """The named tests (with ``vm-`` or without), or all, by name.

    Where no nixpkgs is given and the locked one cannot be fetched, ``<nixpkgs>`` takes its place, with a
    warning. Raises InputError for a name that is none and where no flake is here, CannotRunError where the
    flake or an input cannot be fetched, or it has no VM test, EcError where its evaluation fails.
    """
    from pynix_eval_shim import FetchFailedError, NixError

    here = Path.cwd()
    if source.flake == "." and not any((each / "flake.nix").is_file() for each in (here, *here.parents)):
        raise InputError(
            f"{here}: no flake.nix is here, or in a directory above",
            hint="run this in a checkout, or name the flake that has the tests: --flake REF",
        )
    system = source.system or probe.system
    try:
        known = [name for name in _evaluate(source, f"checks.{system}", _NAMES) if _NAME.fullmatch(name)]
    except FetchFailedError as error:
        local = None if _NIXPKGS in source.override_inputs else _find_channel(source)
        if local is not None:
            inputs = {**source.override_inputs, _NIXPKGS: f"path:{local}"}
            try:
                tests = find_tests(replace(source, override_inputs=inputs), probe, names)
            except InputError:
                raise
            except EcError:
                pass  # what is said below is the reason for it
            else:
                _log.warning("the flake's nixpkgs cannot be fetched: <nixpkgs> took its place", nixpkgs=local)
                return tests
        raise CannotRunError(
            f"VM tests cannot be run here: {source.flake}, or an input of it, cannot be had: {error.message}",
            hint="--override-input nixpkgs path:PATH takes a nixpkgs that is on this machine",
        ) from error
    except NixError as error:
        raise EcError(
            f"the checks of {source.flake} cannot be evaluated: {error}", hint=error.hint
        ) from error
    wanted = [name if name.startswith(TEST_PREFIX) else TEST_PREFIX + name for name in names]
    for name in wanted:
        if name not in known:
            raise InputError(
                f"{name}: no such VM test; there are: {', '.join(known) or 'none'}",
                hint=did_you_mean(name, known),
            )
    if not known:
        raise CannotRunError(
            f"VM tests cannot be run here: {source.flake} has no checks.{system}.{TEST_PREFIX}*",
            hint="a nixpkgs without testers.runNixOSTest makes none",
        )
    chosen = list(dict.fromkeys(wanted)) or known
    # One evaluation each, so that a broken test spoils no other; few at a time, for their memory.
    with ThreadPoolExecutor(max_workers=2) as pool:
        return list(pool.map(lambda name: _describe(source, probe, f"checks.{system}", name), chosen))


def _find_channel(source: Source) -> str | None:
    """Where ``<nixpkgs>`` is, without links: a flake is no link."""
    from pynix_eval_shim import NixError, evaluate

    try:
        found = evaluate("toString <nixpkgs>", impure=True, nix=make_nix(source))
    except NixError:
        return None
    path = Path(str(found)).resolve()
    return str(path) if (path / "flake.nix").is_file() else None


def _evaluate(source: Source, attribute: str, apply: str) -> Any:
    from pynix_eval_shim import evaluate

    return evaluate(
        installable=f"{source.flake}#{attribute}",
        apply=apply,
        override_inputs=source.override_inputs or None,
        nix=make_nix(source),
    )


def _describe(source: Source, probe: Probe, checks: str, name: str) -> VmTest:
    from pynix_eval_shim import NixError

    try:
        found = _evaluate(source, f'{checks}."{name}"', _DESCRIPTION)
    except NixError as error:
        return VmTest(name=name, broken=_first_line(error))
    test = VmTest(
        name=name,
        drv=found["drvPath"],
        system=found["system"],
        description=found["description"],
        features=read_features(Path(found["drvPath"])),
        nodes={node: size or _DEFAULT_NODE_MIB for node, size in found["nodes"].items()},
        seconds=float(found["seconds"] or _DEFAULT_SECONDS),
    )
    return replace(test, obstacle=find_obstacle(test, probe))


def _first_line(error: NixError) -> str:
    return str(error).strip().partition("\n")[0]


def read_features(drv: Path) -> frozenset[str] | None:
    """What a derivation's file says that it requires; None where it cannot be read (a store elsewhere)."""
    try:
        text = drv.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    if (item := _FEATURES_ITEM.search(text)) is not None:
        return frozenset(item[1].split())
    if (item := _JSON_ITEM.search(text)) is not None:  # __structuredAttrs
        attributes = json.loads(re.sub(r"\\(.)", lambda match: {"n": "\n"}.get(match[1], match[1]), item[1]))
        return frozenset(attributes.get("requiredSystemFeatures", ()))
    return frozenset()


def find_obstacle(test: VmTest, probe: Probe) -> str | None:
    """Why the test cannot run here; None where it can, as far as is known before it is tried."""
    if test.features is None:
        return None
    if FEATURE not in test.features:
        return (
            f"a placeholder: the derivation does not require the system feature {FEATURE}, so this nixpkgs "
            "made no VM test of it; building takes a real nixpkgs"
        )
    if probe.remote_builders:
        return None  # nix knows which machine can
    if test.system != probe.system:
        return f"needs a {test.system} machine, this one is {probe.system}, and no remote builders are set"
    missing = test.features - probe.system_features
    if missing:
        reason = f"nix has not the system features {{{', '.join(sorted(missing))}}} here"
        return f"{reason}; kvm takes a /dev/kvm that nix may open" if "kvm" in missing else reason
    return None
