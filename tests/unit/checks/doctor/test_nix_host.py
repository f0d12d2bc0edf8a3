"""What commands need of Nix: each answer that a nix may give, from a stand-in for its process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.fake_nix import FakeProcess, error_event

from ectools.checks.doctor.findings import Finding, FindingState
from ectools.checks.doctor.nix_host import NIX_COMMANDS, check_nix
from pynix_eval_shim import Nix, process

if TYPE_CHECKING:
    from pathlib import Path

NIX = Nix(program="/bin/sh")  # a program that is there; it is not started
TREE = "/nix/var/nix/profiles/per-user/root/channels/nixos"
FOUND = (0, f'"{TREE}"', "")
NOT_FOUND = (1, "", error_event("file 'nixpkgs' was not found in the Nix search path"))


@pytest.fixture
def nix(monkeypatch: pytest.MonkeyPatch) -> FakeProcess:
    """What nix answers; no $NIXPKGS."""
    monkeypatch.delenv("NIXPKGS", raising=False)
    fake = FakeProcess()
    monkeypatch.setattr(process, "run_nix", fake)
    return fake


def answer(
    nix: FakeProcess,
    *,
    version: str = "2.8.0",
    features: str = "benchmark kvm nixos-test",
    builders: str = "",
    nixpkgs: tuple[int, str, str] = FOUND,
) -> None:
    """Version, settings, and ``<nixpkgs>``, in the order of the questions."""
    settings = f"system = x86_64-linux\nsystem-features = {features}\nbuilders = {builders}\n"
    version_line = (0, f"nix (Nix) {version}\n", "")
    nix.answers = [version_line, (0, settings, ""), nixpkgs]


def check(*commands: str) -> dict[str, Finding]:
    found = check_nix(NIX, set(commands))
    assert len({finding.name for finding in found}) == len(found)
    return {finding.name: finding for finding in found}


def test_a_nix_that_has_all(nix: FakeProcess) -> None:
    answer(nix)
    assert check(*NIX_COMMANDS) == {
        "nixpkgs": Finding(
            name="nixpkgs",
            commands=("schema", "vmtest"),
            state=FindingState.OK,
            detail=f"{TREE} (<nixpkgs>)",
        ),
        "VM tests": Finding(
            name="VM tests",
            commands=("vmtest",),
            state=FindingState.OK,
            detail="nix has the system features kvm, nixos-test",
        ),
    }


def test_features_are_of_interest_to_vmtest_alone(nix: FakeProcess) -> None:
    answer(nix, features="")
    assert set(check("eval", "schema", "verify-closure")) == {"nixpkgs"}


@pytest.mark.parametrize(("version", "old"), [("2.7.9", True), ("2.8", False), ("2.30.1", False)])
def test_the_oldest_nix(nix: FakeProcess, version: str, old: bool) -> None:
    answer(nix, version=version)
    found = check("eval").get("nix version")
    assert (found is not None) is old
    if found is not None:
        assert found == Finding(
            name="nix version",
            commands=NIX_COMMANDS,
            state=FindingState.MISSING,
            detail=f"{version} is too old: 2.8 or later is needed",
            remedy="https://nixos.org/download",
        )


def test_settings_that_cannot_be_read_end_the_look(nix: FakeProcess) -> None:
    nix.answers = [(0, "nix (Nix) 2.8.0\n", ""), (1, "", error_event("opening file '/etc/nix/nix.conf'"))]
    (found,) = check(*NIX_COMMANDS).values()
    assert (found.name, found.commands, found.state) == ("nix settings", NIX_COMMANDS, FindingState.MISSING)
    assert "/etc/nix/nix.conf" in found.detail
    assert found.remedy == "see that `nix show-config` works"


@pytest.mark.parametrize(
    ("features", "builders", "state", "words"),
    [
        ("nixos-test", "", FindingState.MISSING, "{kvm} here, and no remote builders"),
        ("kvm", "", FindingState.MISSING, "{nixos-test} here, and no remote builders"),
        ("", "ssh://far", FindingState.LIMITED, "{kvm, nixos-test} here; its remote builders may"),
    ],
)
def test_system_features_that_are_not_here(
    nix: FakeProcess, features: str, builders: str, state: FindingState, words: str
) -> None:
    answer(nix, features=features, builders=builders)
    found = check("vmtest")["VM tests"]
    assert (found.state, found.detail) == (state, f"nix has not the system features {words}")
    assert (found.remedy is None) is (state is FindingState.LIMITED)


def test_the_nixpkgs_of_the_environment_is_not_asked_for(
    nix: FakeProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "default.nix").touch()
    monkeypatch.setenv("NIXPKGS", str(tmp_path))
    answer(nix, nixpkgs=NOT_FOUND)
    found = check("schema")["nixpkgs"]
    assert (found.state, found.detail) == (FindingState.OK, f"{tmp_path} ($NIXPKGS)")
    assert len(nix.calls) == 2
    (tmp_path / "lib" / "default.nix").unlink()
    answer(nix)
    found = check("schema")["nixpkgs"]
    assert (found.state, found.remedy) == (FindingState.MISSING, "set NIXPKGS right")
    assert found.detail == f"{tmp_path}: not a nixpkgs tree: it has no lib/default.nix"


def test_no_nixpkgs_leaves_the_lock_of_the_flake(nix: FakeProcess) -> None:
    answer(nix, nixpkgs=NOT_FOUND)
    found = check("schema")["nixpkgs"]
    assert found.state is FindingState.LIMITED
    assert found.detail == "neither $NIXPKGS nor <nixpkgs>; the flake's lock names one, which takes a network"
    assert "nix-channel --add" in (found.remedy or "")
