"""What the commands that evaluate or build need of Nix here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.checks.doctor.findings import Finding, FindingState
from ectools.errors import EcError
from ectools.nixpkgs import find_nixpkgs

if TYPE_CHECKING:
    from pynix_eval_shim import Nix, Probe

NIX_COMMANDS = ("eval", "options", "schema", "verify-closure", "vmtest")
_OLDEST_NIX = (2, 8)


def check_nix(nix: Nix | None, wanted: set[str]) -> list[Finding]:
    from pynix_eval_shim import NixError, probe

    commands = NIX_COMMANDS
    try:
        probed = probe(nix=nix)
    except NixError as error:
        remedy = error.hint or "see that `nix show-config` works"
        return [
            Finding(
                name="nix settings",
                commands=commands,
                state=FindingState.MISSING,
                detail=str(error),
                remedy=remedy,
            )
        ]
    findings = []
    if probed.release < _OLDEST_NIX:
        detail = f"{probed.version} is too old: 2.8 or later is needed"
        findings.append(
            Finding(
                name="nix version",
                commands=commands,
                state=FindingState.MISSING,
                detail=detail,
                remedy="https://nixos.org/download",
            )
        )
    findings.append(_check_nixpkgs(nix))
    if "vmtest" in wanted:
        findings.append(_check_features(probed))
    return findings


def _check_nixpkgs(nix: Nix | None) -> Finding:
    from pynix_eval_shim import NixError, evaluate

    commands, name = ("schema", "vmtest"), "nixpkgs"
    try:
        given = find_nixpkgs(None)
        if given is not None:
            return Finding(name=name, commands=commands, state=FindingState.OK, detail=f"{given} ($NIXPKGS)")
        found = evaluate("toString <nixpkgs>", impure=True, nix=nix)
        return Finding(name=name, commands=commands, state=FindingState.OK, detail=f"{found} (<nixpkgs>)")
    except EcError as error:
        return Finding(
            name=name,
            commands=commands,
            state=FindingState.MISSING,
            detail=error.message,
            remedy="set NIXPKGS right",
        )
    except NixError:
        return Finding(
            name=name,
            commands=commands,
            state=FindingState.LIMITED,
            detail="neither $NIXPKGS nor <nixpkgs>; the flake's lock names one, which takes a network",
            remedy="set NIXPKGS to a nixpkgs tree, or add a channel: nix-channel --add URL nixpkgs",
        )


def _check_features(probed: Probe) -> Finding:
    missing = {"kvm", "nixos-test"} - probed.system_features
    commands, name = ("vmtest",), "VM tests"
    if not missing:
        return Finding(
            name=name,
            commands=commands,
            state=FindingState.OK,
            detail="nix has the system features kvm, nixos-test",
        )
    features = ", ".join(sorted(missing))
    if probed.remote_builders:
        detail = f"nix has not the system features {{{features}}} here; its remote builders may"
        return Finding(name=name, commands=commands, state=FindingState.LIMITED, detail=detail)
    return Finding(
        name=name,
        commands=commands,
        state=FindingState.MISSING,
        detail=f"nix has not the system features {{{features}}} here, and no remote builders",
        remedy="make /dev/kvm usable, or name machines that have them: --builders",
    )
